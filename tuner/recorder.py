"""Ray's events -> the desk."""

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as RayTrial

from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.scheduling import Rule
from tuner.scheduling.tune import NUMBER

LOST_RETRIES = 4  # of a trial whose worker or node is gone; a bug is never retried


class Recorder(Callback):
    """Ray's events -> the desk."""

    def __init__(self, desk: Desk, rule: Rule, interruption: Interruption) -> None:
        self._desk, self._rule, self._interruption = desk, rule, interruption

    def tell_dropped(self) -> None:
        """Ends the trials that the rule stopped while they were paused."""
        while self._rule.dropped:
            number = self._rule.dropped[0]
            self._end(number, "stopped", self._rule.reasons[number])

    def _end(self, number: int, state: str, reason: str) -> None:
        self._desk.ended(number, state, reason)
        self._rule.ended(number)

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if result["state"] == "running":
            metrics = {key: float(result[key]) for key in result["reported"]}
            self._desk.reported(trial.config[NUMBER], int(result["epoch"]), metrics)
            self.tell_dropped()
        self._desk.board.refresh()

    def on_checkpoint(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, checkpoint: Any, **info: Any
    ) -> None:
        number = trial.config[NUMBER]
        epoch = int(trial.last_result["epoch"])
        self._desk.journal.write("checkpoint", trial=number, epoch=epoch, path=checkpoint.path)

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        result, number = trial.last_result, trial.config[NUMBER]
        if result.get("state") in ("infeasible", "failed"):
            self._end(number, result["state"], result["reason"])
            if "traceback" in result:
                (self._desk.journal.folder / f"trial-{number:04d}.traceback.txt").write_text(result["traceback"])
        elif result.get("epoch", 0) >= self._desk.plan.epochs:
            self._end(number, "finished", "")
        elif number in self._rule.reasons:
            self._end(number, "stopped", self._rule.reasons[number])
        self.tell_dropped()  # those that waited for this one

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        self._end(trial.config[NUMBER], "failed", f"its worker was lost {LOST_RETRIES + 1} times")
        self.tell_dropped()

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        self._desk.board.refresh()
        self._interruption.act()
