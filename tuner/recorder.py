"""Ray's events -> the desk."""

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import TrialScheduler

from tuner.asha import NUMBER, SeededASHA
from tuner.desk import Desk
from tuner.interruption import Interruption

LOST_RETRIES = 4  # of a trial whose worker or node is gone; a bug is never retried


class Recorder(Callback):
    """Ray's events -> the desk."""

    def __init__(self, desk: Desk, scheduler: TrialScheduler, interruption: Interruption) -> None:
        self._desk, self._scheduler, self._interruption = desk, scheduler, interruption

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if result["state"] == "running":
            metrics = {key: float(result[key]) for key in result["reported"]}
            self._desk.reported(trial.config[NUMBER], int(result["epoch"]), metrics)
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
            self._desk.ended(number, result["state"], result["reason"])
            if "traceback" in result:
                (self._desk.journal.folder / f"trial-{number:04d}.traceback.txt").write_text(result["traceback"])
        elif result.get("epoch", 0) >= self._desk.plan.epochs:
            self._desk.ended(number, "finished", "")
        elif isinstance(self._scheduler, SeededASHA) and number in self._scheduler.reasons:
            self._desk.ended(number, "stopped", self._scheduler.reasons[number])

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        self._desk.ended(trial.config[NUMBER], "failed", f"its worker was lost {LOST_RETRIES + 1} times")

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        self._desk.board.refresh()
        self._interruption.act()
