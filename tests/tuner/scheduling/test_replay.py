"""A launch that is killed between any two reports and resumed decides as an undisturbed one."""

import numpy as np
import pytest

from tests.tuner.scheduling.runs import METRIC, Launch, curves
from tuner.journal import Trial
from tuner.scheduling import Rule, check, make_rule, rungs
from tuner.sweep import Sweep

TRIALS, EPOCHS = 24, 9


def made(sweep: Sweep, **settings: object) -> Rule:
    return make_rule(with_scheduler(sweep, **settings), EPOCHS, TRIALS)


def with_scheduler(sweep: Sweep, **settings: object) -> Sweep:
    return sweep.model_copy(update={"scheduler": sweep.scheduler.model_copy(update=settings)})


@pytest.mark.parametrize("settings", [
    {"name": "asha", "reduction": 3.0, "brackets": 2},
    {"name": "hyperband", "reduction": 3.0},
    {"name": "hyperband", "reduction": 2.0, "grace": 2},
    {"name": "median", "grace": 2},
    {"name": "none"},
], ids=str)  # fmt: skip
def test_replay_equals_undisturbed(sweep: Sweep, settings: dict[str, object]) -> None:
    values = curves(TRIALS, EPOCHS, seed=1)
    whole = Launch(made(sweep, **settings), values, slots=3)
    whole.run()
    total = sum(whole.epochs())
    for kills in ([5], [1, 17, 18, 40], list(range(0, total, 7))):
        launch = Launch(made(sweep, **settings), values, slots=3)
        done = 0
        for kill in kills:
            launch.run(kill - done)
            launch.resume(made(sweep, **settings))
            done = kill
        launch.run()
        assert launch.epochs() == whole.epochs()
        assert [t.reason for t in launch.trials.values()] == [t.reason for t in whole.trials.values()]


def test_a_stop_that_was_not_written_before_the_kill_is_decided_again(sweep: Sweep) -> None:
    first, second = Trial(1, {}, state="finished"), Trial(2, {}, state="running")
    first.reports, first.reported_at = {1: {METRIC: 0.5}}, {1: 1.0}
    second.reports, second.reported_at = {1: {METRIC: 0.1}}, {1: 2.0}
    rule = made(sweep, name="asha", grace=1)
    rule.replay([second, first], METRIC)
    assert rule.dropped == [2] and rule.reasons == {2: "asha: rung 1, 0.1000 < 0.5000"}


def test_a_report_without_the_objective_is_no_number(sweep: Sweep) -> None:
    trials = [Trial(n, {}, state="running", reports={1: m}, reported_at={1: float(n)})
              for n, m in ((1, {METRIC: 0.5}), (2, {"train/SupAP": 0.1}))]  # fmt: skip
    rule = made(sweep, name="asha", grace=1)
    rule.replay(trials, METRIC)
    assert rule.dropped == [2]


def test_a_trial_that_ended_without_a_report_is_not_waited_for(sweep: Sweep) -> None:
    rule = make_rule(with_scheduler(sweep, name="hyperband", reduction=3.0), 3, 3)
    waits = Trial(1, {}, state="running", reports={1: {METRIC: 0.5}}, reported_at={1: 1.0})
    rule.replay([Trial(0, {}, state="infeasible"), waits], METRIC)
    assert rule.paused == {1}
    rule.ended(2)
    assert rule.resumable == [1]


def test_the_rungs_that_are_shown(sweep: Sweep) -> None:
    assert rungs(with_scheduler(sweep, name="asha", grace=1, reduction=3.0), 16) == [1, 3, 9]
    assert rungs(with_scheduler(sweep, name="hyperband", grace=1, reduction=3.0), 16) == [2, 6]
    assert rungs(with_scheduler(sweep, name="median"), 16) == rungs(with_scheduler(sweep, name="none"), 16) == []


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_a_grace_past_the_end_is_refused(sweep: Sweep, name: str) -> None:
    check(with_scheduler(sweep, name=name, grace=9), 9)
    with pytest.raises(ValueError, match=r"scheduler\.grace=10 is past the last epoch: experience\.max_iter=9"):
        check(with_scheduler(sweep, name=name, grace=10), 9)


def test_values_are_judged_in_the_order_in_which_they_came(sweep: Sweep) -> None:
    """The same reports, the journal's numbers in another order of time: other trials are stopped."""
    values = np.array([[0.1], [0.2], [0.3], [0.4]])
    for order, dropped in (([0, 1, 2, 3], []), ([0, 3, 2, 1], [1])):
        rule = made(sweep, name="asha", grace=1)
        rule.replay(
            [
                Trial(n, {}, state="running", reports={1: {METRIC: float(values[n, 0])}}, reported_at={1: float(at)})
                for at, n in enumerate(order)
            ],
            METRIC,
        )
        assert rule.dropped == dropped
