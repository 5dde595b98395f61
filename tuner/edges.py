"""The points that are composed before launch: each end of each range, each choice, and whole small spaces."""

from collections.abc import Iterator
from itertools import islice, product

import numpy as np

from tuner import presets, study
from tuner.sampling import known_points
from tuner.space import Choice, Point, Space, Value, grid, overrides
from tuner.sweep import Sweep

ENUMERATED = 256  # points at most that are composed before launch, some 10 ms each; others are when they are drawn
COMPLETIONS = 200  # random points that are tried to complete an edge so that the constraints allow it


def checked_points(sweep: Sweep) -> Iterator[tuple[str, Point]]:
    """(what it stands for, the point): every edge beside each value of the keys that it depends on, the whole
    `search.points`, the trials of a sampler that learns nothing, and every point of a space that has few."""
    for key, distribution in sweep.distributions.items():
        for value in distribution.edges():
            for beside in _beside(sweep.searched, key):
                point = edge(sweep, {**beside, key: value})
                if point is not None:
                    yield f"space.{key}={value}", point
    arms = [{}] if sweep.study is None else study.arms(sweep.searched, sweep.study)
    for place, given in enumerate(sweep.search.points):
        for arm in arms:
            yield f"search.points.{place}", study.joined(sweep.searched, arm, given)
    if sweep.study is None:
        for number, point in enumerate(islice(known_points(sweep, presets.defaults(sweep)), ENUMERATED)):
            yield f"trial {number}", point
    for point in enumerated(sweep.searched):
        yield f"space: {' '.join(overrides(point))}", point


def edge(sweep: Sweep, given: Point) -> Point | None:
    """A point with the given values that the constraints allow, the rest the presets' where they allow it.

    None where none of some random points does.
    """
    space = sweep.searched
    point = presets.completed(sweep, given)
    if space.allows(point):
        return point
    generator = np.random.default_rng(0)
    for _ in range(COMPLETIONS):
        point = space.at(generator.random(len(space.distributions)).tolist(), given)
        if given.keys() <= point.keys() and space.allows(point):
            return point
    return None


def enumerated(space: Space) -> list[Point]:
    """Every point of a space of choices that has at most ENUMERATED; else none."""
    if not all(isinstance(known, Choice) for known in space.distributions.values()):
        return []
    found = list(islice(grid(space), ENUMERATED + 1))
    return found if len(found) <= ENUMERATED else []


def _beside(space: Space, key: str) -> Iterator[dict[str, Value]]:
    """The values of other keys with which the key exists."""
    needed = space.needed(key)
    for values in product(*needed.values()):
        yield dict(zip(needed, values, strict=True))
