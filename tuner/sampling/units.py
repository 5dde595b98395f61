"""The way back from a value to its place in [0, 1], and other small conversions of points."""

import math
from collections.abc import Mapping

import numpy as np

from tuner.space import Int, Point, Space, Uniform, Value


def unit_of(distribution: Uniform | Int, value: Value) -> float:
    """The coordinate of a number of the range; of a whole number or a step, one that maps onto it."""
    low, high = _ends(distribution)
    inner = float(value)
    if distribution.log:
        inner = math.log(inner)
    return min(max((inner - low) / (high - low), 0.0), 1.0)


def active_part(space: Space, point: Mapping[str, Value]) -> Point:
    """The values of the keys that exist in the point, in the space's order."""
    part: Point = {}
    for key in space.distributions:
        if key in point and space.active(key, part):
            part[key] = point[key]
    return part


def plain(value: Value) -> Value:
    """np.float64 and its kin become what YAML and MLflow can write."""
    return value.item() if isinstance(value, np.generic) else value


def _ends(distribution: Uniform | Int) -> tuple[float, float]:
    """Of the interval that `at` draws from, in the logarithm where it is one: half a step wider on both sides."""
    half = (distribution.step or 0) / 2
    low, high = (float(edge) for edge in distribution.edges())
    if not distribution.log:
        return low - half, high + half
    return math.log(max(low - half, low / 2) if half else low), math.log(high + half)
