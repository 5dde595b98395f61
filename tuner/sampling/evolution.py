"""CMA-ES (Hansen 2016), replayed from the journal: package cmaes.

The strategy lives in the unit cube (units.py), so that every key has the same scale, logarithms and whole numbers
included. A draw's note holds its coordinates and generation, and for the first of a generation the trials whose
results led to it; the replay tells exactly those, so it does not depend on who finished first since.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.sampling.designs import random_point
from tuner.sampling.outcomes import Outcome, outcomes, ranks
from tuner.sampling.question import Draw, Question
from tuner.sampling.units import unit_of
from tuner.space import Choice

if TYPE_CHECKING:
    from cmaes import CMA

SIGMA = 0.3  # of the first generation, around the middle of the cube
ATTEMPTS = 100  # draws that may miss the constraints before a random point takes their place
TOP = 0.1  # the share of an earlier sweep's trials that the first generation is fitted to


def cmaes_point(question: Question) -> Draw:
    """A draw of the newest generation; a generation is told once as many of its trials are judged as it needs.

    Only places count: finished by value, then stopped by how far they came, then infeasible. The presets' point and
    the file's own are of the first generation where they lie in the cube. Trials drawn meanwhile are extra ones of
    their generation. An earlier sweep sets where the first generation is (Nomura et al. 2021).
    """
    known = {one.trial.number: one for one in outcomes(question)}
    optimizer = _first(question, known)
    place = ranks(question.sweep, [one for number, one in known.items() if number >= 0])
    opened = [trial for trial in question.trials.values() if "parents" in trial.note]
    for trial in opened:
        optimizer.tell([(_unit(question, known, number), float(place.get(number, len(place))))
                        for number in trial.note["parents"]])  # fmt: skip
    told = {number for trial in opened for number in trial.note["parents"]}
    waiting = [
        number
        for number, one in known.items()
        if number in place and number not in told and one.trial.note.get("generation", 0) == optimizer.generation
    ]
    note: dict[str, Any] = {}
    if len(waiting) >= optimizer.population_size:
        note["parents"] = waiting[: optimizer.population_size]
        optimizer.tell([(_unit(question, known, number), float(place[number])) for number in note["parents"]])
    return _drawn(question, optimizer, note)


def _drawn(question: Question, optimizer: "CMA", note: dict[str, Any]) -> Draw:
    note = {**note, "generation": optimizer.generation}
    for attempt in range(ATTEMPTS):
        optimizer.reseed_rng(question.seed(attempt))
        unit = optimizer.ask()
        point = question.space.at(unit.tolist())
        if question.space.allows(point):
            return Draw(point, {**note, "unit": [float(part) for part in unit]})
    return Draw(random_point(question).point, note)


def _first(question: Question, known: Mapping[int, Outcome]) -> "CMA":
    from cmaes import CMA, get_warm_start_mgd

    dimensions = len(question.space.distributions)
    mean, sigma, covariance = np.full(dimensions, 0.5), SIGMA, None
    earlier = [one for number, one in known.items() if number < 0]
    if earlier:
        place = ranks(question.sweep, earlier)
        solutions = [(_unit(question, known, number), float(place[number])) for number in place]
        share = max(TOP, 1.5 / len(solutions))  # one at least
        mean, sigma, covariance = get_warm_start_mgd(solutions, gamma=min(share, 1.0))
    bounds = np.tile([0.0, 1.0], (dimensions, 1))
    return CMA(mean=mean, sigma=sigma, cov=covariance, bounds=bounds, seed=question.sweep.search.seed)


def _unit(question: Question, known: Mapping[int, Outcome], number: int) -> np.ndarray:
    """Where in the cube (D,) the trial was drawn; of one that was not drawn here, where its point lies."""
    trial = known[number].trial if number in known else question.trials[number]
    if "unit" in trial.note:
        return np.array(trial.note["unit"])
    return np.array([
        0.5 if isinstance(distribution, Choice) else unit_of(distribution, trial.point[key])
        for key, distribution in question.space.distributions.items()
    ])  # fmt: skip
