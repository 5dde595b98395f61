"""The presets' values at the searched paths: trial 0, and what a partial point leaves out."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from trainables.composition import compose, groups, preset, selected
from trainables.errors import UserError, unknown
from tuner import space, study
from tuner.space import Choice, Point, Space, Value
from tuner.sweep import Sweep


def defaults(sweep: Sweep) -> Point:
    """Trial 0: the presets' values, and the constants of the space."""
    return completed(sweep, {})


def completed(sweep: Sweep, given: Mapping[str, Value]) -> Point:
    """The point with the presets' values where `given` has none.

    UserError where it names an unknown key, a value outside of its distribution, or a key that does not exist beside
    the other values.
    """
    _check_values(sweep.searched, given)
    known, point = sweep.searched, _filled(sweep, given)
    for key in given.keys() - point.keys():
        deciding = {other: point[other] for other in known.conditions[key] if other in point}
        beside = ", ".join(f"{other}={value}" for other, value in deciding.items())
        raise UserError(f"{key} does not exist beside {beside or 'the other values'}")
    return point


def whole_points(sweep: Sweep) -> tuple[Point, ...]:
    """`search.points` with what they leave out; in a study they are of nuisance keys, and every arm has them."""
    arms = None if sweep.study is None else study.arms(sweep.searched, sweep.study)
    found = []
    for place, given in enumerate(sweep.search.points):
        try:
            point = completed(sweep, given) if arms is None else _in_arms(sweep, arms, given)
            if arms is None:
                _check_allowed(sweep, point)
        except UserError as error:
            raise UserError(f"search.points.{place}: {error}") from None
        found.append(point)
    return tuple(found)


def _in_arms(sweep: Sweep, arms: Sequence[Point], given: Point) -> Point:
    """The nuisance keys of any arm; the first arm that has a key decides its preset."""
    assert sweep.study is not None
    _check_values(sweep.searched, given)
    for key in given:
        if key in sweep.study.scientific:
            raise UserError(f"{key} is scientific: each of its values is an arm, and every arm has the point")
    found: Point = {}
    for arm in arms:
        point = _filled(sweep, {**arm, **found, **given})
        _check_allowed(sweep, point)
        found |= {key: value for key, value in point.items() if key in sweep.study.nuisance}
    for key in given.keys() - found.keys():
        raise UserError(f"{key} exists in no arm")
    return {key: found[key] for key in sweep.distributions if key in found}


def _filled(sweep: Sweep, given: Mapping[str, Value]) -> Point:
    """`completed` without the given values whose keys do not exist beside the others."""
    known, point = sweep.searched, Point()
    for key, distribution in known.distributions.items():
        if not known.active(key, point):
            continue
        if key in given:
            point[key] = given[key]
        elif isinstance(distribution, Choice) and distribution.constant:
            point[key] = distribution.values[0]
        else:
            point[key] = _preset(sweep, key, point)
    return point


def _check_values(known: Space, given: Mapping[str, Value]) -> None:
    for key, value in given.items():
        if key not in known.distributions:
            raise unknown("key of the space", key, known.distributions)
        if not isinstance(value, bool | int | float | str) or value not in known.distributions[key]:
            raise UserError(f"{key}={value!r} is not in {known.distributions[key]}")


def _check_allowed(sweep: Sweep, point: Point) -> None:
    for constraint in sweep.searched.constraints:
        if not constraint.holds(point):
            raise UserError(f"breaks the constraint {constraint.text!r}")


def _preset(sweep: Sweep, key: str, point: Point) -> Value:
    """Of tied paths, the first one's; the groups chosen before it decide which presets are asked."""
    path = space.paths(key)[0]
    chosen = [text for text in space.overrides(point) if text.partition("=")[0] in groups()]
    value = _value_at(path, (*sweep.fixed(), *chosen))
    if not isinstance(value, bool | int | float | str):
        # a path that leads nowhere is refused here, with the nearest one
        compose([*sweep.fixed(), *chosen, *space.overrides({key: sweep.distributions[key].edges()[0]})])
        raise UserError(f"space.{key}: the preset has no single value there, but {value!r}")
    return value


@lru_cache(maxsize=1024)
def _value_at(path: str, overrides: tuple[str, ...]) -> Any:
    """Composed once for each choice of groups: an edge of one key asks for the presets of all others."""
    return selected(path, overrides) if path in groups() else preset(path, overrides)
