"""Median stopping against its sentence in the paper, by hand and by a slow count."""

import math

import numpy as np

from tests.tuner.scheduling.runs import Launch, curves
from tuner.scheduling import Verdict
from tuner.scheduling.median import MedianStopping

STOP, GO = Verdict.STOP, Verdict.CONTINUE


def median(epochs: int = 4, grace: int = 2, mode: str = "max") -> MedianStopping:
    return MedianStopping(mode, epochs, grace=grace)


def test_the_rule_by_hand() -> None:
    rule = median()
    for number, (first, second) in enumerate([(0.1, 0.3), (0.2, 0.6), (0.3, 0.5)]):
        assert rule.report(number, 1, first) is rule.report(number, 2, second) is GO
    # running averages at epoch 2: 0.2, 0.4, 0.4
    assert rule.report(3, 1, 0.0) is GO, "in its grace"
    assert rule.report(3, 2, 0.39) is STOP
    assert rule.reasons == {3: "median: epoch 2, best 0.3900 < 0.4000"}
    assert rule.report(4, 1, 0.45) is GO
    assert rule.report(4, 2, 0.1) is GO, "its best value is what counts"


def test_two_others_are_too_few_and_a_value_that_is_no_number_is_the_worst() -> None:
    rule = median(grace=1, mode="min")
    assert [rule.report(number, 1, 0.1) for number in (0, 1)] == [GO, GO]
    assert rule.report(2, 1, 0.2) is GO
    assert rule.report(3, 1, math.nan) is STOP
    assert rule.report(4, 1, 0.11) is STOP
    assert rule.reasons[4] == "median: epoch 1, best 0.1100 > 0.1000"


def test_trial_0_and_the_last_epoch_are_never_stopped() -> None:
    rule = median(epochs=2, grace=1)
    for number in (1, 2, 3):
        rule.report(number, 1, 0.5)
    assert rule.report(0, 1, 0.1) is GO
    assert rule.report(4, 2, 0.1) is GO


def test_a_slow_count_stops_the_same_trials() -> None:
    values = curves(30, 10, seed=3)
    launch = Launch(median(10, grace=3), values, slots=4)
    launch.run()
    happened = sorted((at, t.number, epoch) for t in launch.trials.values() for epoch, at in t.reported_at.items())
    stopped = {}
    for now, number, epoch in happened:
        others = [
            np.mean(values[other, :epoch])
            for other in range(30)
            if other != number and any(at < now and (n, e) == (other, epoch) for at, n, e in happened)
        ]
        late = number != 0 and 3 <= epoch < 10 and len(others) >= 3
        if late and max(values[number, :epoch]) < np.median(others):
            stopped[number] = epoch
    assert 5 < len(stopped) < 29
    assert {n: len(t.reports) for n, t in launch.trials.items() if t.state == "stopped"} == stopped
