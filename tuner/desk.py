"""Where the events of a launch come together: the journal first, then MLflow and the board."""

import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainables import bucket
from trainables.patience import patiently
from tuner import lineage, retention
from tuner.board import Board
from tuner.journal import Journal, Trial
from tuner.plan import Plan
from tuner.results import Results
from tuner.scheduling import Exchange
from tuner.scheduling.exploration import explored
from tuner.space import is_number
from tuner.tracking import Tracker, TrackingSummary


class Desk:
    """Where the events of a launch come together: the journal, MLflow, the board."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        tracker: Tracker,
        board: Board,
        remove: Callable[[str], None] = bucket.remove,
    ) -> None:
        """remove: a checkpoint that is needed no more."""
        self.plan, self.journal, self.tracker, self.board = plan, journal, tracker, board
        self._remove = remove
        self.results = Results(plan.sweep, ())

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks for a restore of its own; a sweep is resumed from its journal instead."""
        return {}

    def open(self) -> None:
        """The launch's run in MLflow."""
        sweep = self.plan.sweep
        self.tracker.open({"sweep": sweep.name, "goal": sweep.goal}, {"sweep.json": sweep.model_dump_json(indent=2)})

    def close(self, results: Results, state: str, reason: str, seconds: float) -> TrackingSummary:
        """Its end there, with the best trial's metrics and the table; waits so long for what is not yet written."""
        best = {} if results.best is None else results.best_metrics(results.best)
        table = {"results.csv": results.table.to_csv(index=False)}
        if results.best is not None and self.plan.sweep.scheduler.name == "pbt":
            table["schedule.json"] = lineage.schedule(self.journal.trials, results.best, self.plan.sweep.objective)
        return self.tracker.close(state, best, table, seconds, reason)

    def change(self, plan: Plan) -> None:
        """The sweep has more trials, or another number of them at a time."""
        self.plan = plan
        self.board.planned(plan.trials)

    def caught_up(self) -> None:
        """Tells MLflow what a driver that was killed had in its journal and not yet there."""
        for trial in self.journal.trials.values():
            if trial.ended:
                best = self.results.best_metrics(trial)
                self.tracker.settle_trial(trial.id, trial.point, self._tags(trial), trial.state, trial.reason, best)
                self._tell_reports(trial)

    def started(self, trial: Trial) -> None:
        self._write_schedule(trial)
        self.tracker.start_trial(trial.id, trial.point, self._tags(trial))
        self._tell_reports(trial)

    def reported(self, number: int, epoch: int, metrics: dict[str, float], stop: str = "", host: str = "") -> None:
        """stop: why the scheduler ends the trial with this report; "" where it goes on. host: where it was trained."""
        more = {key: value for key, value in (("stop", stop), ("host", host)) if value}
        self.journal.write("report", trial=number, epoch=epoch, metrics=metrics, **more)
        self._tell(self.journal.trials[number], epoch)

    def checkpointed(self, number: int, epoch: int, path: str) -> None:
        """path: as Ray says it; the journal's is relative, for the sweep's home may move."""
        self.journal.write("checkpoint", trial=number, epoch=epoch, path=self.journal.named(path))
        trial = self.journal.trials[number]
        bucket.seen(trial.checkpoints[epoch])
        self._prune(trial)

    def exchanged(self, exchange: Exchange) -> None:
        """The trial goes on from its donor's checkpoint; nothing where the journal has it already, or it has ended."""
        trials = self.journal.trials
        trial = trials[exchange.number]
        if trial.ended or any(change.epoch == exchange.epoch for change in trial.schedule):
            return
        point = explored(self.plan.sweep, exchange, trials[exchange.donor].point_at(exchange.epoch))
        self.journal.write("exploit", trial=trial.number, epoch=exchange.epoch, donor=exchange.donor, point=point)

    def settle(self) -> None:
        """For a new launch: ends the trials of which the journal has the last report and not yet the end."""
        for trial in list(self.journal.trials.values()):
            last = max(trial.reports, default=0)
            if not trial.ended and trial.stop:
                self._end(trial, "stopped", trial.stop)
            elif not trial.ended and last >= self.plan.epochs and bucket.exists(trial.checkpoints.get(last, "none")):
                self._end(trial, "finished", "")

    def lost(self, number: int, reason: str) -> None:
        """Its worker or node is gone: it goes on from its newest checkpoint."""
        self.journal.write("loss", trial=number, reason=reason)
        self._goes_on(number, f"its worker is gone ({reason or 'without a word'})")

    def crowded(self, number: int, reason: str) -> bool:
        """Whether a trial that found no memory on its GPU is tried again: once, with half as many trials beside it."""
        trial, resources = self.journal.trials[number], self.plan.sweep.resources
        if trial.crowded or not 0 < resources.gpu < 1:
            return False
        self.journal.write("crowded", trial=number, reason=reason)
        self._goes_on(number, f"{reason}; with half as many trials beside it")
        return True

    def _goes_on(self, number: int, why: str) -> None:
        epoch = max(self.journal.trials[number].checkpoints, default=0)
        self.board.line(f"trial {number:04d} goes on after epoch {epoch}: {why}")

    def write(self, file: Path, text: str) -> None:
        """Beside the journal; waits like it where the storage takes no writes."""
        patiently(lambda: file.write_text(text), self.journal.told)

    def _tags(self, trial: Trial) -> dict[str, str]:
        return {"host": platform.node(), "command": self.results.command(trial)}

    def _tell_reports(self, trial: Trial) -> None:
        """Each again: the tracker leaves out what the run has."""
        for epoch in sorted(trial.reports):
            self._tell(trial, epoch)

    def _tell(self, trial: Trial, epoch: int) -> None:
        metrics, objective = trial.reports[epoch], self.plan.sweep.objective.metric
        more = _logarithms(self.plan, trial) if epoch == min(trial.reports) else {}
        # the metric that is written first is the one that MLflow's compare page opens with
        first = {objective: metrics[objective]} if objective in metrics else {}
        if self.plan.sweep.scheduler.name == "pbt":
            more |= _settings(trial, epoch)
        self.tracker.report(trial.id, epoch, {**first, **metrics, **more}, trial.reported_at[epoch])

    def ended(self, number: int, state: str, reason: str) -> None:
        trial = self.journal.trials[number]
        if trial.ended:
            return
        self._end(trial, state, reason)
        self.tracker.end_trial(trial.id, state, reason, self.results.best_metrics(trial))
        self.board.ended(trial)

    def _end(self, trial: Trial, state: str, reason: str) -> None:
        self.journal.write("end", trial=trial.number, state=state, reason=reason)
        self._prune(trial)
        self._write_schedule(trial)

    def _prune(self, trial: Trial) -> None:
        """Its own checkpoints, and those of whom it has copied: nobody may wait for them any longer."""
        trials = self.journal.trials
        for number in {trial.number, *(change.donor for change in trial.schedule)}:
            retention.prune(trials[number], self.plan.sweep.objective, lineage.awaited(trials, number), self._remove)

    def _write_schedule(self, trial: Trial) -> None:
        if self.plan.sweep.scheduler.name == "pbt":
            text = lineage.schedule(self.journal.trials, trial, self.plan.sweep.objective)
            self.write(lineage.schedule_file(self.journal.folder, trial.number), text)


def _settings(trial: Trial, epoch: int) -> dict[str, float]:
    """The numbers that the epoch was trained with: they change, and MLflow's parameters cannot."""
    return {f"pbt/{key}": float(value) for key, value in trial.point_at(epoch).items() if is_number(value)}


def _logarithms(plan: Plan, trial: Trial) -> dict[str, float]:
    """log10 of what is searched on a log scale: MLflow's axes are linear."""
    return {
        f"log10/{key}": math.log10(trial.point[key])  # type: ignore[arg-type]
        for key, distribution in plan.sweep.distributions.items()
        if getattr(distribution, "log", False) and key in trial.point
    }
