"""Samplers that learn nothing: independent draws, a Sobol sequence, a grid. Each is a function of number alone."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from trainables.errors import UserError
from tuner.sampling.question import Draw, Question
from tuner.space import Point, Space, Value, grid
from tuner.sweep import Sweep

REJECTIONS = 1000  # in a row, before the constraints are held to be the mistake
BLOCK = 64  # points of a Sobol sequence that are made at a time: a power of two keeps it balanced


def random_point(question: Question) -> Draw:
    """Independent draws, the generator seeded by sweep seed and trial number."""
    generator, size = question.generator(), len(question.space.distributions)
    return Draw(next(_allowed(question.space, (generator.random(size) for _ in itertools.count()))))


def random_points(sweep: Sweep, defaults: Mapping[str, Value]) -> Iterator[Point]:
    """Those of the trials after the file's own points."""
    for number in itertools.count(1 + len(sweep.search.points)):
        yield random_point(Question.of(sweep, number, {})).point


def sobol_point(question: Question) -> Draw:
    """The next point of the sequence."""
    return Draw(next(itertools.islice(sobol_points(question.sweep, {}), question.position, None)))


def sobol_points(sweep: Sweep, defaults: Mapping[str, Value]) -> Iterator[Point]:
    """The sequence that fills the space evenly (Sobol 1967, scrambled as Owen 1998 by the sweep's seed): scipy's.

    The first 2^k points fall into 2^k equal parts of every dimension, one into each, unless a constraint leaves
    some out.
    """
    from scipy.stats import qmc

    space = sweep.searched
    engine = qmc.Sobol(len(space.distributions), scramble=True, seed=np.random.default_rng(sweep.search.seed))
    return _allowed(space, (row for _ in itertools.count() for row in engine.random(BLOCK)))


def grid_point(question: Question) -> Draw:
    """The next combination that neither trial 0 nor the file's own points have covered."""
    defaults = question.trials[0].point if 0 in question.trials else {}
    point = next(itertools.islice(uncovered(question.sweep, defaults), question.position, None), None)
    if point is None:
        raise UserError(f"the grid has no point for trial {question.number}")
    return Draw(point)


def uncovered(sweep: Sweep, defaults: Mapping[str, Value]) -> Iterator[Point]:
    """The grid without the presets' point and the file's own."""
    covered = [dict(defaults), *sweep.search.points]
    return (point for point in grid(sweep.searched) if point not in covered)


DESIGNS: dict[str, Callable[[Sweep, Mapping[str, Value]], Iterator[Point]]] = {
    "random": random_points,
    "sobol": sobol_points,
    "grid": uncovered,
}


def _allowed(space: Space, rows: Iterable[np.ndarray]) -> Iterator[Point]:
    """The points at the rows (D,) of [0, 1) that fulfil the constraints."""
    refused = 0
    for row in rows:
        point = space.at(row.tolist())
        if space.allows(point):
            refused = 0
            yield point
            continue
        refused += 1
        if refused == REJECTIONS:
            raise UserError(
                f"constraints: none of {REJECTIONS} points in a row fulfils them; widen space or loosen them"
            )
