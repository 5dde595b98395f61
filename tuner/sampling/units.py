"""The unit interval, mapped onto each distribution so that equal parts have equal probability; and back.

Whatever draws numbers in [0, 1) (a generator, a Sobol sequence, CMA-ES) draws from any space through here.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tuner.space import Choice, Distribution, Int, Point, Space, Uniform, Value


def point_at(space: Space, units: Sequence[float]) -> Point:
    """One coordinate in [0, 1) for every key; a key that does not exist beside the others leaves its own unused."""
    point: Point = {}
    for (key, distribution), unit in zip(space.distributions.items(), units, strict=True):
        if space.active(key, point):
            point[key] = value_at(distribution, float(unit))
    return point


def value_at(distribution: Distribution, unit: float) -> Value:
    """The quantile: a choice and a whole number get a part of [0, 1) each, of equal width or, log, of its share."""
    if isinstance(distribution, Choice):
        return distribution.values[min(int(unit * len(distribution.values)), len(distribution.values) - 1)]
    low, high = _ends(distribution)
    inner = low + (high - low) * unit
    if distribution.log:
        inner = math.exp(inner)
    if isinstance(distribution, Int):
        return int(np.clip(np.rint(inner), distribution.low, distribution.high))
    if distribution.step is not None:
        step = np.clip(np.rint((inner - distribution.low) / distribution.step), 0, steps(distribution))
        return float(distribution.low + distribution.step * step)
    return float(np.clip(inner, distribution.low, distribution.high))


def unit_of(distribution: Uniform | Int, value: Value) -> float:
    """The coordinate of a number of the range; of a whole number or a step, one that maps onto it."""
    low, high = _ends(distribution)
    inner = float(value)
    if distribution.log:
        inner = math.log(inner)
    return min(max((inner - low) / (high - low), 0.0), 1.0)


def holds(distribution: Distribution, value: object) -> bool:
    """Whether the value could have been drawn: in the range, and on a step where there are steps."""
    if value not in distribution:
        return False
    if isinstance(distribution, Uniform) and distribution.step is not None:
        count = (float(value) - distribution.low) / distribution.step  # type: ignore[arg-type]
        return abs(count - round(count)) < 1e-8
    return True


def steps(distribution: Uniform) -> int:
    """How many steps lie between the ends."""
    assert distribution.step is not None
    return int((distribution.high - distribution.low) / distribution.step + 1e-9)


def active_part(space: Space, point: Mapping[str, Value]) -> Point:
    """The values of the keys that exist in the point, in the space's order."""
    part: Point = {}
    for key in space.distributions:
        if key in point and space.active(key, part):
            part[key] = point[key]
    return part


def _ends(distribution: Uniform | Int) -> tuple[float, float]:
    """Of the interval that is drawn from, in the logarithm where it is one: half a step wider on both sides."""
    half = 0.5 if isinstance(distribution, Int) else (distribution.step or 0.0) / 2
    high = distribution.high
    if isinstance(distribution, Uniform) and distribution.step is not None:
        high = distribution.low + distribution.step * steps(distribution)
    low, high = distribution.low - half, high + half
    if not distribution.log:
        return low, high
    return math.log(low if low > 0 else float(distribution.low)), math.log(high)


def plain(value: Value) -> Value:
    """np.float64 and its kin become what YAML and MLflow can write."""
    return value.item() if isinstance(value, np.generic) else value
