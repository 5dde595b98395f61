"""Points for libraries that know intervals and categories only: a number's place in [0, 1], a choice's position."""

from tuner.sampling.units import unit_of
from tuner.space import Choice, Point, Space

Code = dict[str, float]


def encoded(space: Space, point: Point) -> Code:
    """key -> coordinate in [0, 1] of a range, index of a choice; only of the keys that the point has."""
    code: Code = {}
    for key, value in point.items():
        distribution = space.distributions[key]
        code[key] = (
            distribution.values.index(value) if isinstance(distribution, Choice) else unit_of(distribution, value)
        )
    return code


def decoded(space: Space, code: Code) -> Point:
    """The point of a code that has every key; those that do not exist beside the others are left out."""
    point: Point = {}
    for key, distribution in space.distributions.items():
        if space.active(key, point):
            if isinstance(distribution, Choice):
                point[key] = distribution.values[int(code[key])]
            else:
                point[key] = distribution.at(float(code[key]))
    return point
