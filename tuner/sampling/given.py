"""The points that the sweep file names itself: trials 1 ... len(search.points), right after the presets'."""

from collections.abc import Mapping
from typing import Any

from trainables.errors import UserError, unknown
from tuner.sampling.units import holds
from tuner.space import Point, Space, Value
from tuner.sweep import Sweep


def given_points(sweep: Sweep, defaults: Mapping[str, Value]) -> list[Point]:
    """`search.points`, whole: a key that one leaves out has the presets' value.

    UserError names a key that is not searched, a value outside its range, a constraint that is not fulfilled.
    """
    space = sweep.searched
    return [
        _whole(space, written, defaults, f"search.points[{place}]") for place, written in enumerate(sweep.search.points)
    ]


def _whole(space: Space, written: Mapping[str, Any], defaults: Mapping[str, Value], where: str) -> Point:
    for key, value in written.items():
        if key not in space.distributions:
            raise unknown("key", key, space.distributions, where=where)
        if not holds(space.distributions[key], value):
            raise UserError(f"{where}: {key}={value!r} is not in {space.distributions[key]}")
    point: Point = {}
    for key in space.distributions:
        if not space.active(key, point):
            if key in written:
                raise UserError(f"{where}: {key} does not exist beside {_deciding(space, key, point)}")
        elif key in written:
            point[key] = written[key]
        elif key in defaults:
            point[key] = defaults[key]
        else:
            raise UserError(f"{where}: {key} needs a value, the presets have none")
    if not space.allows(point):
        raise UserError(f"{where}: {point} does not fulfil the constraints")
    return point


def _deciding(space: Space, key: str, point: Mapping[str, Value]) -> str:
    return ", ".join(f"{other}={point.get(other)}" for other in space.conditions[key])
