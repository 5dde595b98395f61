"""ASHA as Ray has it, with brackets chosen by the sweep's seed and rungs that outlive the driver."""

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from tuner.journal import Trial
from tuner.sweep import Sweep

NUMBER = "number"  # the key of a Ray trial's config that carries our trial number
BASELINE = 0  # what the winner is compared with: it counts in the rungs and runs to its end
EPOCH = "epoch"  # Ray's own count of iterations starts anew in a resumed trial


class _Named:
    """All that a rung wants of a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id = number


class SeededASHA(AsyncHyperBandScheduler):
    """Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020), algorithm 2, stopping only.

    At a rung a trial is stopped when its value is worse than the (1 - 1/reduction) quantile of those who reached the
    rung before it; the first one always passes, and trial 0 at every rung. `reasons` says in words why each trial was
    stopped.
    """

    def __init__(self, sweep: Sweep, epochs: int) -> None:
        settings = sweep.scheduler
        super().__init__(
            time_attr=EPOCH,
            metric=sweep.objective.metric,
            mode=sweep.objective.mode,
            max_t=epochs,
            grace_period=settings.grace,
            reduction_factor=settings.reduction,
            brackets=settings.brackets,
        )
        self._seed = sweep.search.seed
        self.reasons: dict[int, str] = {}

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        """Ray's bookkeeping is by its own trial ids, which change on resume; ours is by trial number."""

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        if self._metric not in result:
            return TrialScheduler.CONTINUE
        return self.judge(trial.config[NUMBER], int(result[EPOCH]), float(result[self._metric]))

    def judge(self, number: int, epoch: int, value: float) -> str:
        """Ray's CONTINUE or STOP for one report."""
        assert self._metric_op is not None
        if epoch >= self._max_t:
            return TrialScheduler.STOP
        bracket = self._brackets[self._bracket_of(number)]
        cutoffs = {rung: cast(float, bracket.cutoff(recorded)) for rung, recorded in bracket._rungs}
        decision = bracket.on_result(cast(RayTrial, _Named(number)), epoch, self._metric_op * value)
        if number == BASELINE:
            return TrialScheduler.CONTINUE
        if decision == TrialScheduler.STOP:
            rung = max(rung for rung in cutoffs if rung <= epoch)
            sign = "<" if self._metric_op > 0 else ">"
            self.reasons[number] = f"asha: rung {rung:g}, {value:.4f} {sign} {self._metric_op * cutoffs[rung]:.4f}"
        return decision

    def replay(self, trials: Iterable[Trial]) -> None:
        """Fills the rungs with what an earlier launch of the same sweep reported."""
        assert self._metric is not None
        for trial in trials:
            for epoch, value in trial.scores(self._metric).items():
                self.judge(trial.number, epoch, value)
        self.reasons.clear()

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        """A trial that failed keeps its place in the rungs."""

    def on_trial_complete(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> None:
        """Nothing to add: the last report has been judged."""

    def on_trial_remove(self, tune_controller: Any, trial: RayTrial) -> None:
        """A pending trial has no place in the rungs yet."""

    def _bracket_of(self, number: int) -> int:
        """Larger brackets as often as Ray's rule makes them, by seed and trial number instead of a global generator."""
        sizes = np.array([len(bracket._rungs) for bracket in self._brackets])
        weights = np.e ** (sizes - sizes.max())
        generator = np.random.default_rng([self._seed, number])
        return int(generator.choice(len(self._brackets), p=weights / weights.sum()))
