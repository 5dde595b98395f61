"""Samplers that learn: better than chance, the same twice, the same after a resume, inside the space."""

import importlib.util
import math
from functools import cache

import numpy as np
import pytest

from tests.tuner.sampling.made import (
    CONDITIONAL,
    FLAT,
    LATENCY,
    METRIC,
    MIXED,
    Limited,
    made_sweep,
    quadratic,
    searched,
    trial,
)
from tuner.journal import Trial
from tuner.sampling import suggest
from tuner.sampling.refusals import OPTIONAL
from tuner.space import Point, Space

FIRST: Point = {"a": 1e-3, "b": 1.5, "c": 1e-2, "d": 0.01}


def installed(sampler: str) -> object:
    missing = [module for module in OPTIONAL.get(sampler, {}) if importlib.util.find_spec(module) is None]
    return pytest.param(sampler, marks=pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}"))


LEARNING = [installed(name) for name in ("tpe", "gp", "cmaes", "nsga2", "hyperopt", "bohb")]


def judge(point: Point) -> dict[str, float]:
    return {METRIC: quadratic(point)}


def best(known: dict[int, Trial]) -> float:
    return max(one.reports[1][METRIC] for one in known.values())


@cache
def chance(trials: int) -> float:
    return float(
        np.median([best(searched(made_sweep("random", seed=seed), FIRST, judge, trials)) for seed in range(5)])
    )


@pytest.mark.parametrize(
    ("sampler", "trials", "seeds", "factor"), [("tpe", 40, 5, 0.5), ("cmaes", 40, 5, 0.7), ("gp", 16, 3, 0.5)]
)
def test_better_than_chance(sampler: str, trials: int, seeds: int, factor: float) -> None:
    """The distance of the best trial from the optimum, the median of the seeds, against as many random trials."""
    found = [best(searched(made_sweep(sampler, seed=seed, startup=4), FIRST, judge, trials)) for seed in range(seeds)]
    assert -np.median(found) < factor * -chance(trials)


@pytest.mark.parametrize("sampler", [one for one in LEARNING if one.values != ("gp",)])  # type: ignore[attr-defined]
def test_late_points_are_better_than_early_ones(sampler: str) -> None:
    known = searched(made_sweep(sampler, seed=1, startup=6), FIRST, judge, 40)
    values = [one.reports[1][METRIC] for one in known.values()]
    assert np.median(values[len(values) // 2 :]) > np.median(values[:8])


def mixed_journal(space: Space, sampler: str) -> dict[int, Trial]:
    """Twenty trials in every state, some of them still running; drawn by the sampler where it leaves notes."""
    known: dict[int, Trial] = {}
    states = ["finished", "stopped", "finished", "infeasible", "failed", "finished", "running"]
    asked = made_sweep(sampler if sampler in ("cmaes", "nsga2") else "random", space)
    for number in range(20):
        draw = suggest(asked, number, known) if number else suggest(made_sweep("random", space), 99, {})
        values = (0.1 * number, 0.2 + 0.05 * number)
        known[number] = trial(number, draw.point, states[number % 7], *values, note=draw.note)
    return known


@pytest.mark.parametrize("sampler", LEARNING)
def test_the_same_point_after_a_resume(sampler: str) -> None:
    """Nothing but the journal is asked: in whatever order it is read, with later trials known or not."""
    space = Space(FLAT, {}) if sampler in ("cmaes", "gp") else Space(MIXED, {})
    sweep, known = made_sweep(sampler, space, startup=4), mixed_journal(space, sampler)
    numbers = (14, 19) if sampler == "gp" else range(12, 20)
    first = [suggest(sweep, number, {n: known[n] for n in range(number)}) for number in numbers]
    backwards = dict(reversed(known.items()))
    assert [suggest(sweep, number, backwards) for number in numbers] == first
    assert len({str(draw.point) for draw in first}) == len(numbers)
    for draw in first:
        assert list(draw.point) == list(space.distributions)
        for key, distribution in space.distributions.items():
            assert draw.point[key] in distribution
            assert type(draw.point[key]) in (float, int, str, bool)


@pytest.mark.parametrize("sampler", [one for one in LEARNING if one.values != ("cmaes",)])  # type: ignore[attr-defined]
def test_conditions(sampler: str) -> None:
    """The loss decides its own settings; y is better, at a margin of 0.8."""

    def judge(point: Point) -> dict[str, float]:
        return {METRIC: 1 - abs(float(point["y.margin"]) - 0.8) if point["loss"] == "y" else float(point["x.tau"]) / 4}

    sweep = made_sweep(sampler, CONDITIONAL, startup=6)
    known = searched(sweep, {"loss": "x", "x.tau": 0.5, "lr": 0.5}, judge, 24 if sampler == "gp" else 30)
    keys = {tuple(one.point) for one in known.values()}
    assert keys == {("loss", "x.tau", "lr"), ("loss", "y.margin", "lr")}
    late = [one.point["loss"] for one in list(known.values())[-10:]]
    assert late.count("y") >= 5


@pytest.mark.parametrize("sampler", LEARNING)
def test_constraints(sampler: str) -> None:
    """The optimum is outside: a model is asked again, and again, and then gives way to chance."""
    space = Limited(FLAT, lambda point: float(point["b"]) > 1.2)
    known = searched(made_sweep(sampler, space, startup=4), FIRST, judge, 8 if sampler == "gp" else 24)
    assert all(one.point["b"] > 1.2 for one in known.values())  # type: ignore[operator]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsga2"])
def test_learns_from_trials_that_diverge(sampler: str) -> None:
    known = {0: Trial(0, dict(FIRST), "finished", reports={1: {METRIC: 0.5}})}
    sweep = made_sweep(sampler, startup=6)
    for number in range(1, 16 if sampler == "gp" else 40):
        draw = suggest(sweep, number, known)
        diverges = float(draw.point["a"]) > 10**-2.5
        reports = {} if diverges else {1: {METRIC: 0.5 - 0.01 * float(draw.point["b"])}}
        state = "infeasible" if diverges else "finished"
        known[number] = Trial(number, draw.point, state, reports=reports, note=draw.note)
    states = [known[number].state for number in range(len(known) // 2, len(known))]
    assert states.count("infeasible") <= len(states) // 3


def test_running_trials_keep_others_away() -> None:
    """Constant liar: the next point lies further from where a trial runs than it would without it."""
    known = searched(made_sweep("tpe", seed=1), FIRST, judge, 24)
    sweep = made_sweep("tpe", seed=1)

    def distance(one: Point, other: Point) -> float:
        return sum(abs(math.log10(float(one[key]) / float(other[key]))) for key in ("a", "c"))

    away = []
    for number in range(24, 34):
        alone = suggest(sweep, number, known).point
        beside = suggest(sweep, number, {**known, 23: trial(23, alone, "running")}).point
        away.append(distance(alone, beside))
    assert np.mean(away) > 0.3


def test_several_objectives() -> None:
    """Quality and latency both ask for d; the trials that none dominates spread, and cover more than chance does."""

    def both(point: Point) -> dict[str, float]:
        return {METRIC: quadratic(point) + 3 * float(point["d"]), LATENCY: 10 * float(point["d"]) + float(point["b"])}

    def covered(known: dict[int, Trial]) -> float:
        """The area between the front and (-2, 14)."""
        values = sorted((one.reports[1][LATENCY], one.reports[1][METRIC]) for one in known.values())
        area, quality = 0.0, -2.0
        for latency, value in values:
            if value > quality and latency < 14:
                area, quality = area + (14 - latency) * (value - quality), value
        return area

    medians = {}
    for sampler in ("random", "nsga2", "tpe"):
        areas = []
        for seed in range(5):
            sweep = made_sweep(sampler, tradeoffs=sampler != "random", seed=seed, trials=60)
            areas.append(covered(searched(sweep, FIRST, both, 60)))
        medians[sampler] = float(np.median(areas))
    assert medians["nsga2"] > medians["random"] and medians["tpe"] > medians["random"]


def test_generations_of_nsga2() -> None:
    """Eight a generation; the presets' and the file's own points are of the first."""
    sweep = made_sweep("nsga2", points=[{"a": 0.01, "b": 1.0, "c": 0.01, "d": 0.1}], trials=30)
    known = searched(sweep, FIRST, judge, 30)
    generations = [one.note.get("generation", 0) for one in known.values()]
    assert generations == [place // 8 for place in range(30)]
