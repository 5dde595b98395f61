"""ASHA: Ray's decisions and numbers, brackets by seed."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from tests.tuner.scheduling.runs import Launch, curves
from tuner.scheduling import Verdict
from tuner.scheduling.asha import ASHA, geometric

STOP, GO = Verdict.STOP, Verdict.CONTINUE


def asha(epochs: int = 9, mode: str = "max", grace: int = 1, reduction: float = 2.0, **more: int) -> ASHA:
    return ASHA(mode, epochs, grace=grace, reduction=reduction, **more)


def test_rungs() -> None:
    assert geometric(3, 3, 9) == [3] and geometric(1, 3, 27) == [1, 3, 9] and geometric(2, 2, 16) == [2, 4, 8]
    assert geometric(3, 1.5, 8) == [3, 5, 7] and geometric(4, 2, 4) == []


def test_the_rule_by_hand() -> None:
    rule = asha()
    decisions = [rule.report(number, 1, value) for number, value in enumerate([0.1, 0.3, 0.2, 0.19, 0.5])]
    # cutoffs are the medians of those before: none, 0.1, 0.2, 0.2, 0.195
    assert decisions == [GO, GO, GO, STOP, GO]
    assert rule.reasons == {3: "asha: rung 1, 0.1900 < 0.2000"}


def test_a_smaller_value_is_better_where_the_mode_is_min() -> None:
    rule = asha(mode="min")
    rule.report(0, 1, 0.1)
    assert rule.report(1, 1, 0.2) is STOP
    assert rule.reasons[1] == "asha: rung 1, 0.2000 > 0.1000"


def test_the_baseline_counts_in_the_rungs_and_is_never_stopped() -> None:
    rule = asha()
    assert rule.report(1, 1, 0.5) is rule.report(0, 1, 0.1) is GO
    assert rule.report(2, 1, 0.2) is STOP and 0 not in rule.reasons
    assert rule.reasons[2] == "asha: rung 1, 0.2000 < 0.3000"


def test_the_last_epoch_is_no_early_stop() -> None:
    rule = asha(epochs=4)
    rule.report(0, 4, 0.5)
    assert rule.report(1, 4, 0.1) is GO and rule.reasons == {}


def test_a_value_that_is_no_number_is_the_worst_and_raises_no_cutoff() -> None:
    rule = asha()
    assert rule.report(1, 1, math.nan) is GO, "the first one passes"
    assert rule.report(2, 1, 0.3) is GO, "nobody with a number came before"
    assert rule.report(3, 1, math.nan) is STOP
    assert rule.reasons[3] == "asha: rung 1, not a number, 0.3000 wanted"
    assert rule.report(4, 1, 0.3) is GO


def test_a_trial_that_goes_on_is_not_judged_twice_at_a_rung() -> None:
    rule = asha()
    rule.report(1, 1, 0.5)
    for number in (2, 3, 4):
        rule.report(number, 1, 0.9)
    assert rule.report(1, 1, 0.5) is GO


def test_brackets_come_from_the_seed() -> None:
    chosen = [asha(brackets=3).bracket(number) for number in range(60)]
    np.random.seed(1)
    assert chosen == [asha(brackets=3).bracket(number) for number in range(60)]
    assert set(chosen) == {0, 1, 2} and chosen.count(0) > chosen.count(2)
    assert chosen != [asha(brackets=3, seed=1).bracket(number) for number in range(60)]


def test_a_later_bracket_begins_a_rung_later() -> None:
    rule = asha(brackets=3)
    last = [number for number in range(1, 60) if rule.bracket(number) == 2]
    for epoch in (1, 2, 3):
        assert {rule.report(number, epoch, -number) for number in last} == {GO}
    assert [rule.report(number, 4, -number) for number in last[:2]] == [GO, STOP]


@pytest.mark.parametrize(("grace", "reduction", "epochs"), [(1, 3.0, 16), (2, 2.0, 12), (3, 1.5, 20), (1, 4.0, 9)])
def test_the_decisions_are_those_of_ray(grace: int, reduction: float, epochs: int) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    theirs = AsyncHyperBandScheduler(
        time_attr="epoch", metric="value", mode="max", max_t=epochs, grace_period=grace, reduction_factor=reduction
    )
    ours = asha(epochs, grace=grace, reduction=reduction)
    values = curves(40, epochs, seed=int(reduction))
    running = {number: SimpleNamespace(trial_id=str(number)) for number in range(1, 40)}  # 0 is ours alone
    for trial in running.values():
        theirs.on_trial_add(None, trial)  # type: ignore[arg-type]
    generator = np.random.default_rng(0)
    reached = dict.fromkeys(running, 0)
    while running:
        number = int(generator.choice(list(running)))
        reached[number] += 1
        value = float(values[number, reached[number] - 1])
        told = {"epoch": reached[number], "value": value}
        decision = theirs.on_trial_result(None, running[number], told)  # type: ignore[arg-type]
        verdict = ours.report(number, reached[number], value)
        assert (decision == "STOP") == (verdict is STOP or reached[number] == epochs)
        if decision == "STOP":
            del running[number]
    assert 0 < len(ours.reasons) < 39


def test_a_launch_with_every_slot_full() -> None:
    launch = Launch(asha(16, reduction=3.0), curves(64, 16), slots=2)
    launch.run()
    assert launch.epochs()[0] == 16 and 100 < sum(launch.epochs()) < 500
