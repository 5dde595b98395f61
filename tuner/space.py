"""The distributions of a search space: pure values, no sampler knows less or more about them than stands here.

A key of the space is an override path, or several tied together with commas; a point gives each key one value.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainables.errors import UserError, unknown

Value = float | int | str | bool
Point = dict[str, Value]


@dataclass(frozen=True)
class Uniform:
    """Real numbers in [low, high]; `log`: uniform in their logarithm; `step`: low, low + step, ..."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __contains__(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def edges(self) -> tuple[Value, ...]:
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"{'log ' if self.log else ''}[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Int:
    """Whole numbers in [low, high], both included."""

    low: int
    high: int
    log: bool = False

    def __contains__(self, value: Any) -> bool:
        return _is_number(value) and float(value).is_integer() and self.low <= value <= self.high

    def edges(self) -> tuple[Value, ...]:
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"{'log ' if self.log else ''}{self.low}..{self.high}"


@dataclass(frozen=True)
class Choice:
    """One of a few values; `grid`: each of them, in every combination with the other grids."""

    values: tuple[Value, ...]
    grid: bool = False

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def edges(self) -> tuple[Value, ...]:
        return self.values

    def __str__(self) -> str:
        return "{" + ", ".join(str(value) for value in self.values) + "}"


Distribution = Uniform | Int | Choice


@dataclass(frozen=True)
class Space:
    """What is searched. A point holds a value for every key that is active in it, and fulfils every constraint."""

    distributions: Mapping[str, Distribution]  # a key comes after those that decide whether it exists
    # key -> {another key: its values with which the first exists}
    conditions: Mapping[str, Mapping[str, tuple[Value, ...]]]

    def active(self, key: str, point: Mapping[str, Value]) -> bool:
        """Whether the key exists beside the values that are chosen already."""
        return all(point.get(other) in values for other, values in self.conditions.get(key, {}).items())

    def allows(self, point: Mapping[str, Value]) -> bool:
        """Whether the point fulfils the constraints."""
        return True


KINDS = ("uniform", "loguniform", "quniform", "int", "logint", "choice", "grid")


def parse(path: str, written: Any) -> Distribution:
    """{"loguniform": [0.001, 0.1]} -> Uniform(0.001, 0.1, log=True); UserError names the path and what is wrong."""
    if not isinstance(written, Mapping) or len(written) != 1:
        raise UserError(f"space.{path}: one distribution, such as {{loguniform: [0.001, 0.1]}}, not {written!r}")
    kind, arguments = next(iter(written.items()))
    if kind not in KINDS:
        raise unknown("distribution", kind, KINDS, where=f"space.{path}")
    if not isinstance(arguments, Sequence) or isinstance(arguments, str):
        raise UserError(f"space.{path}: {kind} takes a list, not {arguments!r}")
    if kind in ("choice", "grid"):
        return _choice(path, kind, arguments)
    return _range(path, kind, arguments)


def _choice(path: str, kind: str, arguments: Sequence[Any]) -> Choice:
    if not arguments:
        raise UserError(f"space.{path}: {kind} needs at least one value")
    if not all(isinstance(value, bool | int | float | str) for value in arguments):
        raise UserError(f"space.{path}: {kind} takes numbers, words and true or false, not {list(arguments)!r}")
    if len({(type(value), value) for value in arguments}) != len(arguments):
        raise UserError(f"space.{path}: {kind} names a value twice: {list(arguments)!r}")
    return Choice(tuple(arguments), grid=kind == "grid")


def _range(path: str, kind: str, arguments: Sequence[Any]) -> Uniform | Int:
    wanted = 3 if kind == "quniform" else 2
    form = "[low, high, step]" if wanted == 3 else "[low, high]"
    if len(arguments) != wanted or not all(_is_number(value) for value in arguments):
        raise UserError(f"space.{path}: {kind} takes {form}, all numbers, not {list(arguments)!r}")
    low, high = arguments[:2]
    if low >= high:
        raise UserError(f"space.{path}: {kind} needs low < high, not [{low:g}, {high:g}]")
    if kind.startswith("log") and low <= 0:
        raise UserError(f"space.{path}: {kind} needs low > 0, not {low:g}")
    if kind in ("int", "logint"):
        if not (float(low).is_integer() and float(high).is_integer()):
            raise UserError(f"space.{path}: {kind} needs whole numbers, not [{low:g}, {high:g}]")
        return Int(int(low), int(high), log=kind == "logint")
    step = float(arguments[2]) if kind == "quniform" else None
    if step is not None and step <= 0:
        raise UserError(f"space.{path}: the step of quniform must be above 0, not {step:g}")
    return Uniform(float(low), float(high), log=kind == "loguniform", step=step)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def paths(key: str) -> list[str]:
    """The override paths that one key of the space sets: "a.lr, b.lr" ties two together."""
    return [path.strip() for path in key.split(",")]


def overrides(point: Mapping[str, Value]) -> list[str]:
    """The point as `KEY=VALUE` overrides, numbers written so that they are read back exactly."""
    return [f"{path}={_written(value)}" for key, value in point.items() for path in paths(key)]


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def grid(space: Mapping[str, Distribution]) -> Iterator[Point]:
    """Every combination of a space of grids and choices, the last key fastest."""
    for key, distribution in space.items():
        if not isinstance(distribution, Choice):
            raise UserError(f"space.{key}: the grid sampler needs grid or choice, not a range")
    columns = [distribution.edges() for distribution in space.values()]
    for values in itertools.product(*columns):
        yield dict(zip(space, values, strict=True))
