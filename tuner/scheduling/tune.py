"""A Rule as Ray Tune's scheduler.

A trial that pauses ends for Ray: its slot and its process are free for the next one, and it comes back as another Ray
trial that goes on from the checkpoint. That is how every trial goes on after the driver was killed, so there is one
way back and not two; JournalSearcher gives the paused ones to Ray again.
"""

import time
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuner.scheduling.rule import Rule, Verdict

NUMBER = "number"  # the key of a Ray trial's config that carries our trial number
EPOCH = "epoch"  # Ray's own count of iterations starts anew in a trial that goes on
PATIENCE_S = 60.0  # with a process that starts; longer than that there is mostly no room for it


class RuleScheduler(FIFOScheduler):
    """Asks the rule at each report of the objective; trials start in the order in which the searcher gives them."""

    def __init__(self, rule: Rule, metric: str) -> None:
        super().__init__()
        self._rule, self._objective = rule, metric
        self._since: dict[str, float] = {}  # Ray's trial that waits for its process -> since when

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """The trial that has waited in vain for a process of its own: it gets the next one that is free.

        Ray gives each new trial a process that is free, or starts one, without being told. FIFOScheduler always names
        the first trial that waits: that one takes the process of a trial that has just ended, and the process that was
        starting for it is ended. Where a trial is shorter than the start of a process, no second one ever comes up.
        """
        now = time.monotonic()
        waiting = {one.trial_id: one for one in tune_controller.get_live_trials() if one.status == RayTrial.PENDING}
        self._since = {name: self._since.get(name, now) for name in waiting}
        first = min(self._since, key=self._since.__getitem__, default=None)
        return waiting[first] if first is not None and now - self._since[first] > PATIENCE_S else None

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        if self._objective not in result:
            return TrialScheduler.CONTINUE  # it ended without a value, and says so itself
        verdict = self._rule.report(trial.config[NUMBER], int(result[EPOCH]), float(result[self._objective]))
        return TrialScheduler.CONTINUE if verdict is Verdict.CONTINUE else TrialScheduler.STOP
