"""Where the events of a launch come together: the journal first, then MLflow and the board."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainables import bucket
from trainables.patience import patiently
from tuner import lineage, retention
from tuner.board import Board
from tuner.entries import NOTE, Entries
from tuner.journal import Journal, Trial
from tuner.plan import Plan
from tuner.results import Results
from tuner.scheduling import Exchange
from tuner.scheduling.exploration import explored
from tuner.tracking import Tracker, TrackingSummary

NOWHERE: Mapping[str, str] = {}


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
        self.entries = Entries(plan, journal)
        self._remove = remove

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks for a restore of its own; a sweep is resumed from its journal instead."""
        return {}

    def open(self) -> None:
        """The launch's run in MLflow."""
        began = self.journal.launches[0].began
        self.tracker.open(self.entries.launch_tags(), self.entries.launch_files(), began)

    def close(self, results: Results, state: str, reason: str, seconds: float) -> TrackingSummary:
        """Its end there, with the best trial's metrics and the table; waits so long for what is not yet written."""
        best = {} if results.best is None else results.best_metrics(results.best)
        table = {"results.csv": results.table.to_csv(index=False)}
        if results.best is not None and self.plan.sweep.scheduler.name == "pbt":
            table["schedule.json"] = lineage.schedule(self.journal.trials, results.best, self.plan.sweep.objective)
        self.tracker.tag({NOTE: self.entries.note(results)})
        return self.tracker.close(state, best, table, seconds, reason, self.journal.last)

    def change(self, plan: Plan) -> None:
        """The sweep has more trials, or another number of them at a time."""
        self.plan = self.entries.plan = plan
        self.board.planned(plan.trials)

    def caught_up(self) -> None:
        """Tells MLflow what a driver that was killed had in its journal and not yet there."""
        for trial in self.journal.trials.values():
            if not (trial.ended or trial.reports):
                continue
            # one that is paused may be ended without ever being started again
            state = trial.state if trial.ended else "interrupted"
            for entry in self.entries.of(trial):
                self.tracker.settle_trial(entry.key, entry.params, entry.tags, state, entry.details)
            self._tell_reports(trial)
            if trial.ended:
                self._tell_end(trial)

    def started(self, trial: Trial, experiment: str | None = None) -> None:
        """experiment: what its point became, as JSON, where that is known."""
        self._write_schedule(trial)
        for entry in self.entries.of(trial, live=True, experiment=experiment):
            self.tracker.start_trial(entry.key, entry.params, entry.tags, entry.details)
        self._tell_reports(trial)

    def reported(
        self, number: int, epoch: int, metrics: dict[str, float], stop: str = "", place: Mapping[str, str] = NOWHERE
    ) -> None:
        """stop: why the scheduler ends the trial with this report; "" where it goes on. place: "host" and "gpu"."""
        more = {key: value for key, value in {"stop": stop, **place}.items() if value}
        trial = self.journal.trials[number]
        before = trial.place
        self.journal.write("report", trial=number, epoch=epoch, metrics=metrics, **more)
        if trial.place != before:
            for key in self.entries.keys(trial):
                self.tracker.tag(trial.place, key)
        self._tell(trial, epoch)

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

    def _tell_reports(self, trial: Trial) -> None:
        """Each again: the tracker leaves out what the run has."""
        for epoch in sorted(trial.reports):
            self._tell(trial, epoch)

    def _tell(self, trial: Trial, epoch: int) -> None:
        for key, metrics in self.entries.metrics(trial, epoch).items():
            self.tracker.report(key, epoch, metrics, trial.reported_at[epoch])

    def ended(self, number: int, state: str, reason: str) -> None:
        trial = self.journal.trials[number]
        if trial.ended:
            return
        self._end(trial, state, reason)
        self._tell_end(trial)
        self.board.ended(trial)

    def _tell_end(self, trial: Trial) -> None:
        for entry in reversed(self.entries.of(trial)):
            self.tracker.end_trial(entry.key, trial.state, trial.reason, entry.best, trial.ended_at)

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
