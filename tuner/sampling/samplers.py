"""Which point comes next: a pure function of the sweep, the trial's number and what the journal knows of the others.

Nothing is kept between two questions, so a resumed sweep asks exactly as an undisturbed one would.
"""

import itertools
from collections.abc import Mapping

from tuner.journal import Trial
from tuner.sampling.bohb import bohb_point
from tuner.sampling.designs import DESIGNS, grid_point, random_point, sobol_point, uncovered
from tuner.sampling.evolution import cmaes_point
from tuner.sampling.parzen import hyperopt_point
from tuner.sampling.question import Draw, Question, Sampler
from tuner.sampling.studies import gp_point, nsga2_point, tpe_point
from tuner.space import Point, Value
from tuner.sweep import Sweep

SAMPLERS: dict[str, Sampler] = {
    "random": random_point,
    "grid": grid_point,
    "sobol": sobol_point,
    "tpe": tpe_point,
    "gp": gp_point,
    "cmaes": cmaes_point,
    "nsga2": nsga2_point,
    "hyperopt": hyperopt_point,
    "bohb": bohb_point,
}


def suggest(sweep: Sweep, number: int, trials: Mapping[int, Trial]) -> Draw:
    """The draw of trial `number` >= 1, given the trials before it; earlier sweeps' have numbers below 0.

    Trial 0 is the presets' point; then come the file's own points (whole, as a Plan has them), then the
    sampler's. UserError where the constraints leave no point.
    """
    if number <= len(sweep.search.points):
        return Draw(dict(sweep.search.points[number - 1]))
    return SAMPLERS[sweep.search.sampler](Question.of(sweep, number, trials))


def planned_trials(sweep: Sweep, defaults: Mapping[str, Value]) -> int:
    """How many trials the sweep has: as many as asked for, or as the grid holds beside the points before it."""
    if sweep.search.sampler != "grid":
        return sweep.search.trials
    first = 1 + len(sweep.search.points)
    return min(sweep.search.trials, first + sum(1 for _ in uncovered(sweep, defaults)))


def known_points(sweep: Sweep, defaults: Point) -> list[Point]:
    """Every point that is certain before launch: the presets', the file's own, and a design's, which learns nothing."""
    first = [defaults, *(dict(point) for point in sweep.search.points)]
    design = DESIGNS.get(sweep.search.sampler)
    if design is None:
        return first
    return [*first, *itertools.islice(design(sweep, defaults), max(sweep.search.trials - len(first), 0))]
