"""Ray's events -> the desk, and to the control what of them it decides on."""

from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as RayTrial
from ray.tune.result import HOSTNAME

from trainables.errors import MISPLACED
from tuner.control import Control
from tuner.desk import Desk
from tuner.failures import last_failure
from tuner.journal import traceback_file
from tuner.scheduling import Rule
from tuner.scheduling.tune import NUMBER

LOST_RETRIES = 4  # without a new checkpoint, of a trial whose worker or node is gone; a bug is never retried
OUT_OF_MEMORY = "NODE_OUT_OF_MEMORY"  # what Ray says of a worker that its memory monitor ended


class Recorder(Callback):
    """Ray's events -> the desk and the control."""

    def __init__(self, desk: Desk, rule: Rule, control: Control) -> None:
        self._desk, self._rule, self._control = desk, rule, control

    def tell_decided(self) -> None:
        """Ends the trials that the rule stopped while they were paused; changes those that copy others."""
        while self._rule.exchanges:
            self._desk.exchanged(self._rule.exchanges.pop(0))
        while self._rule.dropped:
            number = self._rule.dropped[0]
            self._end(number, "stopped", self._rule.reasons[number])

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        self._desk.journal.write("start", trial=trial.config[NUMBER])

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if result["state"] == "running":
            number = trial.config[NUMBER]
            metrics = {key: float(result[key]) for key in result["reported"]}
            stop = self._rule.reasons.get(number, "")
            place = {"host": result.get(HOSTNAME, ""), "gpu": result.get("gpu", "")}
            self._desk.reported(number, int(result["epoch"]), metrics, stop, place)
            self.tell_decided()
        self._desk.board.refresh()

    def on_checkpoint(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, checkpoint: Any, **info: Any
    ) -> None:
        number = trial.config[NUMBER]
        self._desk.checkpointed(number, int(trial.last_result["epoch"]), checkpoint.path)
        self._control.checkpointed(number)

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        result, number = trial.last_result, trial.config[NUMBER]
        if result.get("state") == MISPLACED and self._moves(number, result):
            return
        if result.get("state") in ("infeasible", "failed"):
            if "traceback" in result:
                self._keep_traceback(number, result["traceback"])
            if not (result.get("memory") and self._desk.crowded(number, result["reason"])):
                self._end(number, result["state"], result["reason"])
        elif result.get("epoch", 0) >= self._desk.plan.epochs:
            self._end(number, "finished", "")
        elif number in self._rule.reasons:
            self._end(number, "stopped", self._rule.reasons[number])
        else:  # it comes back as another trial of Ray's
            self._desk.journal.write("pause", trial=number)
        self.tell_decided()  # those that waited for this one

    def _moves(self, number: int, result: dict[str, Any]) -> bool:
        """A trial that found no data where it was placed goes on elsewhere; False where this is the only node."""
        nodes = {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
        if len(nodes) < 2:
            result["state"] = "failed"
            return False
        node = result["node"]
        self._control.avoid(node, result["reason"], len(nodes - {node, *self._control.avoided}))
        self._desk.journal.write("pause", trial=number)
        return True

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """Mostly a worker or a node that is gone: the trial comes back as another trial of Ray's."""
        number, failure = trial.config[NUMBER], last_failure(trial.error_file)
        if failure.text:
            self._keep_traceback(number, failure.text)
        if failure.error and not failure.lost:
            self._end(number, "failed", f"{failure.error.rpartition('.')[2]}: {failure.told}")
        elif OUT_OF_MEMORY in failure.text and self._desk.journal.trials[number].losses:
            self._end(number, "infeasible", "out of memory: the machine had none left for its worker")
        else:
            self._lose(number, failure.told)
        self.tell_decided()

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        # the list is Ray's own: at the end it asks the storage for two files of each trial that is still in it
        trials[:] = [trial for trial in trials if trial.status not in (RayTrial.TERMINATED, RayTrial.ERROR)]
        live = _in(trials, RayTrial.PENDING, RayTrial.RUNNING)
        self._control.follow(live=live, running=_in(trials, RayTrial.RUNNING))
        self._desk.board.refresh()
        self._control.act()

    def _lose(self, number: int, why: str) -> None:
        if self._desk.journal.trials[number].losses < LOST_RETRIES:
            self._desk.lost(number, why)
        else:
            last = f", at last: {why}" if why else ""
            self._end(number, "lost", f"its worker was lost {LOST_RETRIES + 1} times{last}")

    def _end(self, number: int, state: str, reason: str) -> None:
        self._desk.ended(number, state, reason)
        self._rule.ended(number)

    def _keep_traceback(self, number: int, text: str) -> None:
        self._desk.write(traceback_file(self._desk.journal.folder, number), text)


def _in(trials: list[RayTrial], *statuses: str) -> set[int]:
    return {trial.config[NUMBER] for trial in trials if trial.status in statuses}
