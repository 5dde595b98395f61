"""HyperBand: the brackets of the paper, and successive halving written down as it reads there."""

import math

import numpy as np
import pytest

from tests.tuner.scheduling.runs import Launch, curves
from tuner.scheduling import Verdict
from tuner.scheduling.hyperband import HyperBand, rungs

STOP, GO, PAUSE = Verdict.STOP, Verdict.CONTINUE, Verdict.PAUSE


def hyperband(epochs: int, trials: int, grace: int = 1, reduction: float = 3.0, mode: str = "max") -> HyperBand:
    return HyperBand(mode, epochs, grace=grace, reduction=reduction, trials=trials)


def algorithm_1(values: np.ndarray, reduction: int, grace: int = 1) -> list[int]:
    """Epochs of each trial, (T, R) -> T: every bracket runs from its first rung to its last before the next one."""
    trials, most = values.shape
    epochs = [0] * trials
    s_max = 0
    while grace * reduction ** (s_max + 1) <= most:
        s_max += 1
    left = list(range(trials))
    while left:
        for s in range(s_max, -1, -1):
            n = math.ceil((s_max + 1) / (s + 1) * reduction**s)
            cohort, left = left[:n], left[n:]
            for i in range(s + 1):
                rung = math.ceil(most / reduction ** (s - i))
                for number in cohort:
                    epochs[number] = rung
                ranked = sorted(cohort, key=lambda number: (-values[number, rung - 1], number))
                cohort = ranked[: max(1, len(cohort) // reduction)]
    epochs[0] = most  # our one departure: the presets' point runs to its end
    return epochs


def test_the_table_of_the_paper() -> None:
    """Li et al. 2018, table 1: R = 81, reduction 3, brackets of 81, 34, 15, 8 and 5 trials."""
    rule = hyperband(81, 143)
    assert [len(bracket.cohorts[0]) for bracket in rule._brackets] == [81, 34, 15, 8, 5]
    assert [bracket.rungs for bracket in rule._brackets] == [(1, 3, 9, 27), (3, 9, 27), (9, 27), (27,), ()]
    assert rungs(1, 3, 81) == [1, 3, 9, 27] and rungs(1, 3, 16) == [2, 6] and rungs(3, 3, 16) == [6]


def test_one_bracket_by_hand() -> None:
    """R = 3, reduction 3: three trials wait at epoch 1, and the best one goes on. Trial 0 never waits."""
    rule = hyperband(3, 3)
    assert rule.report(0, 1, 0.2) is GO
    assert rule.report(1, 1, 0.3) is PAUSE and rule.paused == {1}
    assert rule.report(2, 1, 0.1) is STOP
    assert rule.resumable == [1] and rule.paused == set() and rule.dropped == []
    assert rule.reasons == {2: "hyperband: rung 1, 0.1000 < 0.3000, 1 of 3 go on"}


def test_the_last_to_come_goes_on_and_the_others_are_dropped() -> None:
    rule = hyperband(3, 3, mode="min")
    assert [rule.report(number, 1, value) for number, value in ((2, 0.4), (0, 0.5), (1, 0.3))] == [PAUSE, GO, GO]
    assert rule.dropped == [2] and rule.resumable == []
    assert rule.reasons == {2: "hyperband: rung 1, 0.4000 > 0.3000, 1 of 3 go on"}


def test_neither_a_failure_nor_a_value_that_is_no_number_is_waited_for() -> None:
    rule = hyperband(3, 3)
    assert rule.report(0, 1, math.nan) is GO
    assert rule.report(2, 1, 0.1) is PAUSE
    rule.ended(1)
    assert rule.resumable == [2]


@pytest.mark.parametrize("slots", [1, 2, 7])
@pytest.mark.parametrize(("trials", "epochs", "grace", "reduction"), [(34, 9, 1, 3), (64, 16, 1, 2), (25, 27, 3, 3)])
def test_any_order_of_reports_runs_the_epochs_of_the_algorithm(
    trials: int, epochs: int, grace: int, reduction: int, slots: int
) -> None:
    values = curves(trials, epochs, seed=trials)
    launch = Launch(hyperband(epochs, trials, grace, reduction), values, slots, seed=slots)
    launch.run()
    assert launch.epochs() == algorithm_1(values, reduction, grace)
    stopped = [trial for trial in launch.trials.values() if trial.state == "stopped"]
    assert stopped and all(trial.reason.startswith("hyperband: rung ") for trial in stopped)
    assert all(trial.ended for trial in launch.trials.values())


def test_a_trial_that_was_not_planned_runs_to_its_end() -> None:
    rule = hyperband(3, 3)
    assert rule.report(3, 1, 0.1) is GO
    rule.ended(3)
    assert rule.paused == set() and rule.dropped == []


def test_fewer_trials_than_the_first_bracket_holds() -> None:
    values = curves(5, 9)
    launch = Launch(hyperband(9, 5), values, slots=2)
    launch.run()
    assert sorted(launch.epochs()[1:])[-1] == 9 or launch.epochs()[0] == 9
    assert all(trial.ended for trial in launch.trials.values())
