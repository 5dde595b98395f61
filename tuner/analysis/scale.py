"""Where a value lies in its range, on the scale that it was drawn on."""

import math

from tuner.space import Choice, Distribution, Int, Uniform, Value

Range = Uniform | Int


def position(distribution: Range, value: Value) -> float:
    """0 at the low end, 1 at the high end, in logarithms where the range is one of logarithms."""
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        return (math.log(float(value)) - math.log(low)) / (math.log(high) - math.log(low))
    return (float(value) - low) / (high - low)


def at(distribution: Range, place: float) -> float:
    """The value at a place; those outside [0, 1] lie outside the range."""
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        return math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
    return low + place * (high - low)


def searched(distribution: Distribution) -> bool:
    """Whether there is more than one value."""
    return not isinstance(distribution, Choice) or len(distribution.values) > 1
