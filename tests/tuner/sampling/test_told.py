"""Each trial is told as what it is: never an early value for a final one, no NaN, nothing of a bug."""

import math
from dataclasses import replace

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.tuner.sampling.made import CONDITIONAL, LATENCY, METRIC, made_sweep, trial
from tuner.journal import Trial
from tuner.sampling import studies, suggest
from tuner.sampling.outcomes import completed, outcomes, ranks
from tuner.sampling.question import Question
from tuner.sampling.studies import complete_trials, pruned_trials
from tuner.space import Point, Space, Uniform

POINT: Point = {"a": 1e-3, "b": 1.0, "c": 1e-3, "d": 0.1}
TRIALS = [
    trial(0, POINT, "finished", 0.1, 0.4, 0.3),
    trial(1, POINT, "stopped", 0.1, 0.6),  # ahead of all when it was stopped
    trial(2, POINT, "infeasible", 0.9, math.nan),
    trial(3, POINT, "running", 0.5),
    trial(4, POINT, "pending"),
    trial(5, POINT, "failed", 0.9),
    trial(6, POINT, "lost", 0.9),
    trial(7, {**POINT, "b": 9.0}, "finished", 0.9),  # outside
    trial(8, {"a": 1e-3}, "finished", 0.9),  # not whole
    trial(9, POINT, "finished", math.nan, math.nan),
    trial(10, POINT, "finished", math.nan, 0.2),
    trial(11, POINT, "stopped", 0.2),
    trial(12, POINT, "stopped", 0.1, 0.05),
]
JOURNAL = {made.number: made for made in TRIALS}


def question(trials: dict[int, Trial], number: int = 20, tradeoffs: bool = False) -> Question:
    return Question.of(made_sweep("tpe", tradeoffs=tradeoffs), number, trials)


def test_to_tpe() -> None:
    asked = question(JOURNAL)
    told = pruned_trials(asked, outcomes(asked))
    assert [(one.state, one.values, one.intermediate_values) for one in told] == [
        (TrialState.COMPLETE, [0.4], {1: 0.1, 2: 0.4, 3: 0.3}),
        (TrialState.PRUNED, None, {1: 0.1, 2: 0.6}),
        (TrialState.PRUNED, None, {}),
        (TrialState.RUNNING, None, {1: 0.5}),
        (TrialState.RUNNING, None, {}),
        (TrialState.COMPLETE, [0.2], {2: 0.2}),
        (TrialState.PRUNED, None, {1: 0.2}),
        (TrialState.PRUNED, None, {1: 0.1, 2: 0.05}),
    ]


def test_to_models_that_know_finished_trials_only() -> None:
    """Stopped and infeasible ones as the worst that finished: 0.2."""
    asked = question(JOURNAL)
    told = complete_trials(asked, outcomes(asked))
    states = [(one.state.name, one.values) for one in told]
    worst = ("COMPLETE", [0.2])
    assert states == [("COMPLETE", [0.4]), worst, worst, ("RUNNING", None), ("RUNNING", None), worst, worst, worst]
    none = question({1: JOURNAL[1], 2: JOURNAL[2], 3: JOURNAL[3]})
    assert completed(none.sweep, outcomes(none)) == []


def test_places() -> None:
    """Finished by value; stopped: the second epoch before the first, then by value; infeasible."""
    asked = question(JOURNAL)
    assert list(ranks(asked.sweep, outcomes(asked))) == [0, 10, 1, 12, 11, 2]


def test_places_where_less_is_better() -> None:
    sweep = made_sweep("cmaes").model_copy(update={"objective": made_sweep("tpe", tradeoffs=True).tradeoffs[0]})
    trials = {n: Trial(n, POINT, "finished", reports={1: {LATENCY: value}}) for n, value in enumerate([3.0, 1.0, 2.0])}
    assert list(ranks(sweep, outcomes(Question.of(sweep, 9, trials)))) == [1, 2, 0]


def test_only_what_came_before_is_known() -> None:
    asked = question(JOURNAL, number=2)
    assert [one.trial.number for one in outcomes(asked)] == [0, 1]


def test_a_trade_off_is_read_at_the_objective_s_best_epoch() -> None:
    reports = {1: {METRIC: 0.1, LATENCY: 1.0}, 2: {METRIC: 0.5, LATENCY: 3.0}, 3: {METRIC: 0.4, LATENCY: 2.0}}
    made = Trial(0, POINT, "finished", reports=reports)
    assert made.at_best(METRIC, "max", [LATENCY]) == (0.5, 3.0)
    assert made.at_best(METRIC, "max", []) == (0.5,)
    assert Trial(0, POINT, "finished", reports={1: {METRIC: 0.5}}).at_best(METRIC, "max", [LATENCY]) is None
    assert Trial(0, POINT, "finished").at_best(METRIC, "max", []) is None


def test_several_objectives() -> None:
    def several(number: int, state: str, quality: float, latency: float) -> Trial:
        return Trial(number, POINT, state, reports={1: {METRIC: quality, LATENCY: latency}})

    journal = {
        0: several(0, "finished", 0.5, 10.0),
        1: several(1, "finished", 0.3, 20.0),
        2: several(2, "stopped", 0.9, 1.0),
        3: several(3, "infeasible", 0.9, 1.0),
        4: several(4, "running", 0.9, 1.0),
        5: several(5, "finished", 0.9, math.nan),
    }
    asked = question(journal, tradeoffs=True)
    told = complete_trials(asked, outcomes(asked))
    assert [one.values for one in told] == [[0.5, 10.0], [0.3, 20.0], [0.3, 20.0], [0.3, 20.0], None]
    pruned = pruned_trials(asked, outcomes(asked))
    assert [(one.values, one.intermediate_values) for one in pruned[:3]] == [
        ([0.5, 10.0], {}),
        ([0.3, 20.0], {}),
        (None, {}),
    ]


def test_keys_that_do_not_exist_are_not_told() -> None:
    sweep = made_sweep("tpe", CONDITIONAL)
    whole = {"loss": "x", "x.tau": 0.1, "lr": 0.1}
    journal = {0: trial(0, {**whole, "y.margin": 0.3}, "finished", 0.1), 1: trial(1, whole, "finished", 0.1)}
    told = outcomes(Question.of(sweep, 2, journal))
    assert [one.point for one in told] == [whole, whole]


def test_a_step_that_is_missed_is_outside() -> None:
    """Optuna would refuse the whole study."""
    space = Space({"s": Uniform(0.0, 1.0, step=0.25)}, {})
    journal = {0: trial(0, {"s": 0.3}, "finished", 0.1), 1: trial(1, {"s": 0.5}, "finished", 0.1)}
    asked = Question.of(made_sweep("tpe", space), 2, journal)
    assert [one.params for one in pruned_trials(asked, outcomes(asked))] == [{"s": 0.5}]


def test_what_is_not_copied_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna would copy each trial that it is told of: the draws and the trials are as if it had."""
    many = {number: replace(JOURNAL[number % 3], number=number) for number in range(30)}
    drawn = suggest(made_sweep("tpe"), 30, many)
    assert drawn == suggest(made_sweep("tpe"), 30, many)
    monkeypatch.setattr(studies, "told_trial", lambda: FrozenTrial)
    assert drawn == suggest(made_sweep("tpe"), 30, many)
