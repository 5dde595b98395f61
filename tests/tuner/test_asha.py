"""ASHA: Ray's rule, brackets by seed, rungs that survive the driver."""

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from tuner.asha import SeededASHA
from tuner.journal import Trial
from tuner.rungs import rungs
from tuner.sweep import Sweep

METRIC = "val/map_at_r"


def asha(sweep: Sweep, epochs: int = 9, **settings: object) -> SeededASHA:
    return SeededASHA(sweep.model_copy(update={"scheduler": sweep.scheduler.model_copy(update=settings)}), epochs)


def test_rungs() -> None:
    assert rungs(3, 3, 9) == [3] and rungs(1, 3, 27) == [1, 3, 9] and rungs(2, 2, 16) == [2, 4, 8]


def test_the_rule_by_hand(sweep: Sweep) -> None:
    scheduler = asha(sweep, grace=1, reduction=2.0)
    decisions = [scheduler.judge(number, 1, value) for number, value in enumerate([0.1, 0.3, 0.2, 0.19, 0.5])]
    # cutoffs are the medians of those before: none, 0.1, 0.2, 0.2, 0.195
    stop, go = TrialScheduler.STOP, TrialScheduler.CONTINUE
    assert decisions == [go, go, go, stop, go]
    assert scheduler.reasons == {3: "asha: rung 1, 0.1900 < 0.2000"}


def test_a_smaller_value_is_better_where_the_mode_is_min(sweep: Sweep) -> None:
    minimised = sweep.model_copy(update={"objective": sweep.objective.model_copy(update={"mode": "min"})})
    scheduler = asha(minimised, grace=1, reduction=2.0)
    scheduler.judge(0, 1, 0.1)
    assert scheduler.judge(1, 1, 0.2) == TrialScheduler.STOP
    assert scheduler.reasons[1] == "asha: rung 1, 0.2000 > 0.1000"


def test_the_baseline_counts_in_the_rungs_and_is_never_stopped(sweep: Sweep) -> None:
    scheduler = asha(sweep, grace=1, reduction=2.0)
    assert scheduler.judge(1, 1, 0.5) == scheduler.judge(0, 1, 0.1) == TrialScheduler.CONTINUE
    assert scheduler.judge(2, 1, 0.2) == TrialScheduler.STOP and 0 not in scheduler.reasons
    assert scheduler.reasons[2] == "asha: rung 1, 0.2000 < 0.3000"


def test_the_last_epoch_is_no_early_stop(sweep: Sweep) -> None:
    scheduler = asha(sweep, epochs=4)
    assert scheduler.judge(0, 4, 0.5) == TrialScheduler.STOP and scheduler.reasons == {}


def test_a_replayed_scheduler_decides_as_the_first_did(sweep: Sweep) -> None:
    generator = np.random.default_rng(0)
    curves = {number: np.sort(generator.random(9)).tolist() for number in range(20)}
    first = asha(sweep, grace=1, reduction=3.0, brackets=2)
    known: dict[int, Trial] = {}
    for number in range(10):
        known[number] = Trial(number, {})
        for epoch, value in enumerate(curves[number], start=1):
            known[number].reports[epoch] = {METRIC: value}
            if first.judge(number, epoch, value) == TrialScheduler.STOP:
                break
    second = asha(sweep, grace=1, reduction=3.0, brackets=2)
    second.replay(known.values())
    for number in range(10, 20):
        for epoch, value in enumerate(curves[number], start=1):
            decision = first.judge(number, epoch, value)
            assert second.judge(number, epoch, value) == decision
            if decision == TrialScheduler.STOP:
                break


def test_a_resumed_trial_is_not_judged_twice_at_a_rung(sweep: Sweep) -> None:
    scheduler = asha(sweep, grace=1, reduction=2.0)
    scheduler.judge(0, 1, 0.5)
    for number, value in ((1, 0.9), (2, 0.9), (3, 0.9)):
        scheduler.judge(number, 1, value)
    assert scheduler.judge(0, 1, 0.5) == TrialScheduler.CONTINUE


def test_brackets_come_from_the_seed(sweep: Sweep) -> None:
    scheduler = asha(sweep, grace=1, reduction=2.0, brackets=3)
    chosen = [scheduler._bracket_of(number) for number in range(60)]
    np.random.seed(1)
    assert chosen == [asha(sweep, grace=1, reduction=2.0, brackets=3)._bracket_of(number) for number in range(60)]
    assert set(chosen) == {0, 1, 2} and chosen.count(0) > chosen.count(2)


@pytest.mark.parametrize("missing", [{}, {"epoch": 1}])
def test_a_result_without_the_metric_decides_nothing(sweep: Sweep, missing: dict[str, object]) -> None:
    assert asha(sweep).on_trial_result(None, None, dict(missing)) == TrialScheduler.CONTINUE  # type: ignore[arg-type]
