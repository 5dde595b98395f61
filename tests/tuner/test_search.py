"""Samplers: functions of seed, number and what is known, told of each trial as what it is."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tuner import search
from tuner.journal import Trial
from tuner.space import Choice, Int, Uniform
from tuner.sweep import Sweep

METRIC = "val/map_at_r"


def trial(sweep: Sweep, number: int, values: list[float], state: str) -> Trial:
    point = search.random_point(sweep, number, {})
    made = Trial(number, point, state=state)
    made.reports = {epoch: {METRIC: value} for epoch, value in enumerate(values, start=1)}
    return made


@pytest.mark.parametrize("sampler", [search.random_point, search.tpe_point])
def test_points_lie_in_the_space_and_come_again(sweep: Sweep, sampler: Callable[..., dict[str, float]]) -> None:
    known = {n: trial(sweep, n, [0.1 * n, 0.2 * n], "finished") for n in range(6)}
    points = [sampler(sweep, number, known) for number in range(6, 12)]
    assert points == [sampler(sweep, number, known) for number in range(6, 12)]
    assert len({str(point) for point in points}) == 6
    for point in points:
        assert all(point[key] in distribution for key, distribution in sweep.distributions.items())
        assert all(type(value) is float for value in point.values())


def test_another_seed_gives_other_points(sweep: Sweep) -> None:
    other = sweep.model_copy(update={"search": sweep.search.model_copy(update={"seed": 2})})
    assert search.random_point(sweep, 1, {}) != search.random_point(other, 1, {})
    assert search.tpe_point(sweep, 1, {}) != search.tpe_point(other, 1, {})


def test_draws_have_the_distribution() -> None:
    generator = np.random.default_rng(0)
    logs = [math.log10(float(search._draw(Uniform(1e-4, 1, log=True), generator))) for _ in range(2000)]
    assert abs(np.mean(logs) + 2) < 0.1 and min(logs) >= -4 and max(logs) <= 0
    steps = {search._draw(Uniform(0, 1, step=0.25), generator) for _ in range(200)}
    assert steps == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {search._draw(Int(1, 3), generator) for _ in range(100)} == {1, 2, 3}
    assert {search._draw(Int(1, 3, log=True), generator) for _ in range(200)} == {1, 2, 3}
    assert {search._draw(Choice(("a", "b")), generator) for _ in range(50)} == {"a", "b"}


def test_each_trial_is_told_as_what_it_is(sweep: Sweep) -> None:
    from optuna.trial import TrialState

    distributions = {key: search._optuna(known) for key, known in sweep.distributions.items()}

    def told(values: list[float], state: str) -> object:
        return search._told(trial(sweep, 1, values, state), sweep, distributions)

    finished = told([0.1, 0.4, 0.3], "finished")
    assert finished.state == TrialState.COMPLETE and finished.value == 0.4  # type: ignore[attr-defined]
    stopped = told([0.1, 0.2], "stopped")
    assert stopped.state == TrialState.PRUNED and stopped.value is None  # type: ignore[attr-defined]
    assert stopped.intermediate_values == {1: 0.1, 2: 0.2}  # type: ignore[attr-defined]
    infeasible = told([0.1, math.nan], "infeasible")
    assert infeasible.state == TrialState.PRUNED and infeasible.intermediate_values == {}  # type: ignore[attr-defined]
    assert told([0.3], "running").state == TrialState.RUNNING  # type: ignore[attr-defined]
    assert told([0.3], "failed") is None
    outside = Trial(0, {**search.random_point(sweep, 1, {}), "loss.SupAP.tau": 9.0}, state="finished")
    assert search._told(outside, sweep, distributions) is None


def test_tpe_learns(sweep: Sweep) -> None:
    """A space whose best tau is 0.003: later points lie nearer to it than chance."""
    known: dict[int, Trial] = {}
    for number in range(40):
        point = search.tpe_point(sweep, number, known)
        value = -abs(math.log10(float(point["loss.SupAP.tau"])) + 2.5)
        known[number] = Trial(number, point, "finished", reports={1: {METRIC: value}})
    distance = [-known[number].reports[1][METRIC] for number in known]
    assert np.mean(distance[25:]) < 0.6 * np.mean(distance[:8])


def test_tpe_keeps_away_from_where_trials_diverge(sweep: Sweep) -> None:
    known: dict[int, Trial] = {}
    for number in range(40):
        point = search.tpe_point(sweep, number, known)
        diverges = float(point["optimizer.backbone.lr"]) > 1e-3
        reports = {} if diverges else {1: {METRIC: 0.5}}
        known[number] = Trial(number, point, "infeasible" if diverges else "finished", reports=reports)
    states = [known[number].state for number in range(20, 40)]
    assert states.count("infeasible") <= 4


def test_grid(sweep: Sweep) -> None:
    space = {"loss.SupAP.tau": {"grid": [0.01, 0.1]}, "loss.CalibrationLoss.weight": {"choice": [0.5, 1.0]}}
    settings = sweep.search.model_copy(update={"sampler": "grid", "trials": 100})
    gridded = sweep.model_copy(update={"space": space, "search": settings})
    assert search.planned_trials(gridded) == 5
    defaults = {"loss.SupAP.tau": 0.01, "loss.CalibrationLoss.weight": 1.0}
    known = {0: Trial(0, dict(defaults))}
    points = [search.suggest(gridded, number, known) for number in (1, 2, 3)]
    assert len(points) == 3 and defaults not in points
