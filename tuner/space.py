"""The values of a search space: distributions, and which keys a point has. language.py reads them from a file.

A key of the space is an override path, a configuration group, or several of them tied together with commas; a point
gives one value to each key that is active in it. No sampler knows less or more about a distribution than stands here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainables.errors import UserError
from tuner.constraints import Constraint, Value

Point = dict[str, Value]


@dataclass(frozen=True)
class Uniform:
    """Real numbers in [low, high]; `log`: uniform in their logarithm; `step`: low, low + step, ... alone."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __contains__(self, value: Any) -> bool:
        if not is_number(value) or not self.low <= value <= self.high:
            return False
        return self.step is None or math.isclose(value, self._nth(round((value - self.low) / self.step)), rel_tol=1e-9)

    def edges(self) -> tuple[float, float]:
        return (self.low, self.high if self.step is None else self._nth(self.steps))

    def at(self, fraction: float) -> float:
        """The value with this share of the probability below it; fraction in [0, 1)."""
        if self.step is not None:
            return self._nth(_step_at(fraction, self.low, self.step, self.steps, self.log))
        if self.log:
            drawn = math.exp(math.log(self.low) + fraction * (math.log(self.high) - math.log(self.low)))
        else:
            drawn = self.low + fraction * (self.high - self.low)
        return min(max(drawn, self.low), self.high)

    @property
    def steps(self) -> int:
        """How many steps lie between the first value and the last."""
        assert self.step is not None
        return int((self.high - self.low) / self.step + 1e-9)

    def nearest(self, value: float) -> float:
        """The value that could have been drawn next to this one."""
        inside = min(max(value, self.low), self.high)
        return inside if self.step is None else self._nth(min(round((inside - self.low) / self.step), self.steps))

    def _nth(self, index: int) -> float:
        """Without the rounding errors of a sum: 0.3, not 0.30000000000000004."""
        assert self.step is not None
        return float(f"{self.low + index * self.step:.12g}")

    def __str__(self) -> str:
        stepped = "" if self.step is None else f" in steps of {self.step:g}"
        return f"{'log ' if self.log else ''}[{self.low:g}, {self.high:g}]{stepped}"


@dataclass(frozen=True)
class Int:
    """Whole numbers low, low + step, ... up to high."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __contains__(self, value: Any) -> bool:
        return is_number(value) and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def edges(self) -> tuple[int, int]:
        return (self.low, self.low + self.steps * self.step)

    def at(self, fraction: float) -> int:
        """The value with this share of the probability below it; fraction in [0, 1)."""
        return self.low + self.step * _step_at(fraction, self.low, self.step, self.steps, self.log)

    @property
    def steps(self) -> int:
        """How many steps lie between the first value and the last."""
        return (self.high - self.low) // self.step

    def __str__(self) -> str:
        stepped = "" if self.step == 1 else f" in steps of {self.step}"
        return f"{'log ' if self.log else ''}{self.low}..{self.high}{stepped}"


@dataclass(frozen=True)
class Choice:
    """One of a few values; `grid`: each of them, in every combination with the other grids; `constant`: only one."""

    values: tuple[Value, ...]
    grid: bool = False
    constant: bool = False

    def __contains__(self, value: Any) -> bool:
        return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in self.values)

    def edges(self) -> tuple[Value, ...]:
        return self.values

    def at(self, fraction: float) -> Value:
        """The value with this share of the probability below it; fraction in [0, 1)."""
        return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]

    def __str__(self) -> str:
        if self.constant:
            return f"always {self.values[0]}"
        return "{" + ", ".join(str(value) for value in self.values) + "}"


Distribution = Uniform | Int | Choice


@dataclass(frozen=True)
class Space:
    """What is searched. A point holds a value for every key that is active in it, and fulfils every constraint."""

    distributions: Mapping[str, Distribution]  # a key comes after those that decide whether it exists
    # key -> {another key: its values with which the first exists}
    conditions: Mapping[str, Mapping[str, tuple[Value, ...]]] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()

    def active(self, key: str, point: Mapping[str, Value]) -> bool:
        """Whether the key exists beside the values that are chosen already."""
        return all(point.get(other) in values for other, values in self.conditions.get(key, {}).items())

    def allows(self, point: Mapping[str, Value]) -> bool:
        """Whether the point fulfils the constraints."""
        return all(constraint.holds(point) for constraint in self.constraints)

    def at(self, fractions: Sequence[float], given: Mapping[str, Value] | None = None) -> Point:
        """The point at a place of the unit cube, one coordinate in [0, 1) a key; the constraints are not asked.

        given: values that the place does not decide; those of keys that do not exist beside the others are left out.
        """
        point: Point = {}
        for fraction, (key, distribution) in zip(fractions, self.distributions.items(), strict=True):
            if self.active(key, point):
                point[key] = given[key] if given and key in given else distribution.at(fraction)
        return point

    @property
    def searched(self) -> list[str]:
        """The keys that have more than one value."""
        return [key for key, known in self.distributions.items() if not (isinstance(known, Choice) and known.constant)]

    def needed(self, key: str) -> dict[str, tuple[Value, ...]]:
        """Every key that decides, directly or not, whether this one exists -> its values with which it does."""
        found: dict[str, tuple[Value, ...]] = {}
        for other, values in self.conditions.get(key, {}).items():
            for ancestor, allowed in {**self.needed(other), other: values}.items():
                found[ancestor] = tuple(value for value in found.get(ancestor, allowed) if value in allowed)
        return {other: found[other] for other in self.distributions if other in found}


def paths(key: str) -> list[str]:
    """The override paths that one key of the space sets: "a.lr, b.lr" ties two together."""
    return [path.strip() for path in key.split(",")]


def overrides(point: Mapping[str, Value]) -> list[str]:
    """The point as `KEY=VALUE` overrides, numbers written so that they are read back exactly."""
    return [f"{path}={_written(value)}" for key, value in point.items() for path in paths(key)]


def grid(space: Space) -> Iterator[Point]:
    """Every allowed combination of a space of grids, choices and constants, the last key fastest, none twice."""
    for key, distribution in space.distributions.items():
        if not isinstance(distribution, Choice):
            raise UserError(f"space.{key}: the grid sampler needs grid or choice, not a range")
    return (point for point in _combinations(space, list(space.distributions), {}) if space.allows(point))


def is_number(value: Any) -> bool:
    """A finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _combinations(space: Space, keys: Sequence[str], point: Point) -> Iterator[Point]:
    if not keys:
        yield point
    elif space.active(keys[0], point):
        for value in space.distributions[keys[0]].edges():
            yield from _combinations(space, keys[1:], {**point, keys[0]: value})
    else:
        yield from _combinations(space, keys[1:], point)


def _step_at(fraction: float, low: float, step: float, last: int, log: bool) -> int:
    """Which of the steps 0 ... last; in logarithms each has the share of the numbers that are nearest to it."""
    if not log:
        return min(int(fraction * (last + 1)), last)
    bottom, top = max(low - step / 2, low / 2), low + (last + 0.5) * step
    drawn = bottom * (top / bottom) ** fraction
    return min(max(round((drawn - low) / step), 0), last)


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)
