"""The `space` and `constraints` of a sweep file -> Space; what is wrong is said in one line, with the nearest name."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainables.errors import UserError, unknown
from tuner.constraints import Name, Value, kind_of, parse_constraint
from tuner.space import Choice, Distribution, Int, Space, Uniform, is_number, paths

RANGES = ("uniform", "loguniform", "quniform", "qloguniform", "int", "logint", "qint")
KINDS = (*RANGES, "choice", "grid", "constant")
WHEN = "when"


def parse_space(written: Mapping[str, Mapping[str, Any]], constraints: Sequence[str] = ()) -> Space:
    """The space, keys ordered so that those come first which decide whether others exist."""
    distributions = {key: parse(key, _kind_alone(value)) for key, value in written.items()}
    _check_once(distributions)
    conditions = {
        key: _conditions(key, value[WHEN], distributions)
        for key, value in written.items()
        if isinstance(value, Mapping) and WHEN in value
    }
    space = Space(_parents_first(distributions, conditions), conditions)
    for key in conditions:
        for other, values in space.needed(key).items():
            if not values:
                raise UserError(f"space.{key} can never exist: its conditions want different values of {other}")
    names = {path: Name(key, _kind(known)) for key, known in distributions.items() for path in paths(key)}
    return Space(space.distributions, conditions, tuple(parse_constraint(text, names) for text in constraints))


def parse(path: str, written: Any) -> Distribution:
    """{"loguniform": [0.001, 0.1]} -> Uniform(0.001, 0.1, log=True); UserError names the path and what is wrong."""
    if not isinstance(written, Mapping) or len(written) != 1:
        raise UserError(f"space.{path}: one distribution, such as {{loguniform: [0.001, 0.1]}}, not {written!r}")
    kind, arguments = next(iter(written.items()))
    if kind not in KINDS:
        raise unknown("distribution", kind, [*KINDS, WHEN], where=f"space.{path}")
    if kind == "constant":
        if not _is_value(arguments):
            raise UserError(f"space.{path}: constant takes one number, word, true or false, not {arguments!r}")
        return Choice((arguments,), constant=True)
    if not isinstance(arguments, Sequence) or isinstance(arguments, str):
        raise UserError(f"space.{path}: {kind} takes a list, not {arguments!r}")
    return _range(path, kind, arguments) if kind in RANGES else _choice(path, kind, arguments)


def _kind_alone(written: Any) -> Any:
    return {kind: value for kind, value in written.items() if kind != WHEN} if isinstance(written, Mapping) else written


def _choice(path: str, kind: str, arguments: Sequence[Any]) -> Choice:
    if not arguments:
        raise UserError(f"space.{path}: {kind} needs at least one value")
    if not all(_is_value(value) for value in arguments):
        raise UserError(f"space.{path}: {kind} takes numbers, words and true or false, not {list(arguments)!r}")
    if len(set(arguments)) != len(arguments):
        raise UserError(f"space.{path}: {kind} names a value twice: {list(arguments)!r}")
    return Choice(tuple(arguments), grid=kind == "grid")


def _range(path: str, kind: str, arguments: Sequence[Any]) -> Uniform | Int:
    stepped = kind.startswith("q")
    wanted, form = (3, "[low, high, step]") if stepped else (2, "[low, high]")
    if len(arguments) != wanted or not all(is_number(value) for value in arguments):
        raise UserError(f"space.{path}: {kind} takes {form}, all numbers, not {list(arguments)!r}")
    low, high = arguments[:2]
    log, whole = "log" in kind, kind.endswith("int")
    if low >= high:
        raise UserError(f"space.{path}: {kind} needs low < high, not [{low:g}, {high:g}]")
    if log and low <= 0:
        raise UserError(f"space.{path}: {kind} needs low > 0, not {low:g}")
    if stepped and not 0 < arguments[2] <= high - low:
        raise UserError(f"space.{path}: the step of {kind} must be above 0 and fit in the range, not {arguments[2]:g}")
    if whole:
        if not all(float(value).is_integer() for value in arguments):
            raise UserError(f"space.{path}: {kind} needs whole numbers, not {list(arguments)!r}")
        return Int(int(low), int(high), log=log, step=int(arguments[2]) if stepped else 1)
    return Uniform(float(low), float(high), log=log, step=float(arguments[2]) if stepped else None)


def _conditions(key: str, written: Any, known: Mapping[str, Distribution]) -> dict[str, tuple[Value, ...]]:
    """{other key: the values of it with which this one exists}."""
    if not isinstance(written, Mapping) or not written:
        raise UserError(f"space.{key}.when: {{other key: value or [values]}}, not {written!r}")
    found = {}
    for other, one_or_more in written.items():
        if other not in known:
            raise unknown("key of the space", other, known, where=f"space.{key}.when")
        distribution = known[other]
        if not isinstance(distribution, Choice):
            raise UserError(f"space.{key}.when: {other} is a range, only choice, grid and constant can decide")
        values = one_or_more if isinstance(one_or_more, list) else [one_or_more]
        for value in values:
            if value not in distribution:
                raise unknown("value", value, map(str, distribution.values), where=f"space.{key}.when.{other}")
        if not values:
            raise UserError(f"space.{key}.when.{other}: needs at least one value")
        found[other] = tuple(values)
    return found


def _parents_first(
    distributions: Mapping[str, Distribution], conditions: Mapping[str, Mapping[str, tuple[Value, ...]]]
) -> dict[str, Distribution]:
    ordered: dict[str, Distribution] = {}

    def place(key: str, trail: tuple[str, ...]) -> None:
        if key in trail:
            circle = " -> ".join((*trail[trail.index(key) :], key))
            raise UserError(f"space: the conditions go in a circle: {circle}")
        for other in conditions.get(key, {}):
            if other not in ordered:
                place(other, (*trail, key))
        ordered.setdefault(key, distributions[key])

    for key in distributions:
        place(key, ())
    return ordered


def _check_once(distributions: Mapping[str, Distribution]) -> None:
    seen: set[str] = set()
    for key in distributions:
        for one in paths(key):
            if one in seen:
                raise UserError(f"space sets {one!r} twice")
            seen.add(one)


def _is_value(value: Any) -> bool:
    return isinstance(value, bool | str) or is_number(value)


def _kind(distribution: Distribution) -> Any:
    return kind_of(distribution.edges())
