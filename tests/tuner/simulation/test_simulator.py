"""Simulated sweeps: three trials worked by hand, and what must hold of any."""

import math

import numpy as np
import pytest

from tuner.simulation.curves import Curve, Curves
from tuner.simulation.simulator import Outcome, _distance, simulate
from tuner.space import Choice, Int, Uniform
from tuner.sweep import Sweep

METRIC = "val/map_at_r"


def recorded(*curves: tuple[list[float], list[float]]) -> Curves:
    """(values, seconds) by epoch of each trial; their points are spread over the first key's range."""
    points = [
        {"loss.SupAP.tau": 0.001 + 0.01 * number, "loss.CalibrationLoss.weight": 1.0, "optimizer.backbone.lr": 0.001}
        for number in range(len(curves))
    ]
    trials = tuple(
        Curve(dict(point), 0, np.array(values), np.array(seconds))
        for point, (values, seconds) in zip(points, curves, strict=True)
    )
    return Curves(METRIC, trials, trials[:1])


def scheduled(sweep: Sweep, sampler: str = "random", **settings: object) -> Sweep:
    return sweep.model_copy(update={
        "search": sweep.search.model_copy(update={"sampler": sampler}),
        "scheduler": sweep.scheduler.model_copy(update=settings),
    })  # fmt: skip


def order(outcome: Outcome) -> list[float]:
    return [float(trial.point["loss.SupAP.tau"]) for trial in outcome.trials]


HAND = recorded(([0.1, 0.2, 0.3], [1, 1, 1]), ([0.3, 0.5, 0.9], [2, 2, 2]), ([0.2, 0.4, 0.6], [3, 3, 3]))


def seed_that_keeps_the_order(sweep: Sweep) -> int:
    return next(seed for seed in range(9) if order(simulate(sweep, HAND, seed=seed)) == [0.001, 0.011, 0.021])


def test_three_trials_by_hand(sweep: Sweep) -> None:
    """Two slots, a rung at epoch 1, reduction 2. Seconds at which trials report:

    0: 1, 2, 3. 1: 2, where 0.3 >= 0.1, then 4, 6. 2 begins at 3 and reports at 6, where 0.2 is not below the median of
    0.1 and 0.3, then 9, 12.
    """
    asha = scheduled(sweep, name="asha", grace=1, reduction=2.0)
    outcome = simulate(asha, HAND, slots=2, seed=seed_that_keeps_the_order(asha))
    assert [(trial.state, len(trial.reports)) for trial in outcome.trials] == [("finished", 3)] * 3
    assert [list(trial.reported_at.values()) for trial in outcome.trials] == [[1, 2, 3], [2, 4, 6], [6, 9, 12]]
    assert (outcome.epochs, outcome.hours * 3600, outcome.clock_hours * 3600) == (9, pytest.approx(18), 12)
    # trial 1 reports 0.9 at second 6, behind trial 2, whose epoch began earlier: the seventh report
    assert (outcome.found, outcome.regret, outcome.epochs_to_near) == (0.9, 0.0, 7)


def test_what_is_stopped_costs_no_more(sweep: Sweep) -> None:
    """Reduction 4: the cutoff is the upper quartile of 0.1 and 0.3, 0.25; trial 2 is stopped at its first epoch."""
    asha = scheduled(sweep, name="asha", grace=1, reduction=4.0)
    outcome = simulate(asha, HAND, slots=2, seed=seed_that_keeps_the_order(asha))
    assert [(trial.state, len(trial.reports)) for trial in outcome.trials] == [
        ("finished", 3), ("finished", 3), ("stopped", 1)]  # fmt: skip
    assert outcome.trials[2].reason == "asha: rung 1, 0.2000 < 0.2500"
    assert (outcome.epochs, outcome.clock_hours * 3600) == (7, 6)


def test_paused_trials_leave_their_slot(sweep: Sweep) -> None:
    """HyperBand with three epochs: all three are compared at epoch 1, trial 1 goes on, trial 0 runs to its end."""
    band = scheduled(sweep, name="hyperband", grace=1, reduction=3.0)
    outcome = simulate(band, HAND, slots=1, seed=seed_that_keeps_the_order(band))
    assert [(trial.state, len(trial.reports)) for trial in outcome.trials] == [
        ("finished", 3), ("finished", 3), ("stopped", 1)]  # fmt: skip
    # one slot: 0 takes 3 seconds, 1 its first 2, 2 its first 3, then 1 goes on
    assert list(outcome.trials[1].reported_at.values()) == [5, 10, 12]


def test_a_curve_that_breaks_off_is_infeasible(sweep: Sweep) -> None:
    broken = recorded(([0.1, 0.2], [1, 1]), ([0.9], [1]), ([], []))
    outcome = simulate(scheduled(sweep, name="none"), broken, slots=1)
    assert sorted((trial.state, len(trial.reports)) for trial in outcome.trials) == [
        ("finished", 2), ("infeasible", 0), ("infeasible", 1)]  # fmt: skip


def many(count: int = 20, epochs: int = 9) -> Curves:
    generator = np.random.default_rng(0)
    tops = generator.uniform(0.1, 0.9, count)
    return recorded(*(
        ((top * (1 - np.exp(-np.arange(1, epochs + 1) / 3))).tolist(), [1.0 + top] * epochs) for top in tops
    ))  # fmt: skip


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("name", ["asha", "hyperband", "median", "none"])
def test_every_recorded_point_is_used_once_and_again_alike(sweep: Sweep, sampler: str, name: str) -> None:
    curves = many()
    one, two = (simulate(scheduled(sweep, sampler, name=name), curves, seed=3) for _ in range(2))
    assert one == two
    assert sorted(order(one)) == [curve.point["loss.SupAP.tau"] for curve in curves.trials]
    assert order(one)[0] == 0.001, "trial 0 is the presets' point"
    assert order(simulate(scheduled(sweep, sampler, name=name), curves, seed=4)) != order(one)
    assert one.found + one.regret == pytest.approx(max(curve.best("max") for curve in curves.trials))
    if name == "none":
        assert one.epochs == 20 * 9 and one.regret == 0 and one.epochs_to_near < math.inf


def test_fewer_trials_than_points(sweep: Sweep) -> None:
    outcome = simulate(scheduled(sweep, name="none"), many(), trials=5, seed=1)
    assert len(outcome.trials) == 5 and outcome.epochs == 45 and outcome.regret > 0


def test_ranges_are_as_long_as_each_other() -> None:
    space = {"a": Uniform(1e-4, 1.0, log=True), "b": Int(0, 10), "c": Choice(("x", "y")), "d": Uniform(0, 1)}
    one = {"a": 1e-4, "b": 0, "c": "x", "d": 0.5}
    assert _distance(one, {**one, "a": 1e-2}, space) == pytest.approx(0.25)
    assert _distance(one, {**one, "b": 10, "c": "y"}, space) == 2
    assert _distance(one, {"a": 1e-4, "b": 0, "c": "x"}, space) == 1
