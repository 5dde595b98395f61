"""A Rule as Ray Tune's scheduler.

A trial that pauses ends for Ray: its slot and its process are free for the next one, and it comes back as another Ray
trial that goes on from the checkpoint. That is how every trial goes on after the driver was killed, so there is one
way back and not two; JournalSearcher gives the paused ones to Ray again.
"""

from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuner.scheduling.rule import Rule, Verdict

NUMBER = "number"  # the key of a Ray trial's config that carries our trial number
CROWDED = "crowded"  # that says whether it is to have twice its share of a GPU
EPOCH = "epoch"  # Ray's own count of iterations starts anew in a trial that goes on


class RuleScheduler(FIFOScheduler):
    """Asks the rule at each report of the objective; trials start in the order in which the searcher gives them."""

    def __init__(self, rule: Rule, metric: str) -> None:
        super().__init__()
        self._rule, self._objective = rule, metric

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        if self._objective not in result:
            return TrialScheduler.CONTINUE  # it ended without a value, and says so itself
        verdict = self._rule.report(trial.config[NUMBER], int(result[EPOCH]), float(result[self._objective]))
        return TrialScheduler.CONTINUE if verdict is Verdict.CONTINUE else TrialScheduler.STOP
