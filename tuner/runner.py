"""A Plan on Ray Tune, from launch to results. Every event goes through the journal first, then to who listens."""

import contextlib
import math
import platform
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from trainables.errors import UserError
from trainables.trainable import RetrievalTrainable
from tuner import cluster
from tuner.asha import NUMBER, SeededASHA
from tuner.board import Board
from tuner.journal import Journal, Trial
from tuner.plan import Plan
from tuner.results import Results
from tuner.search import suggest
from tuner.sweep import Sweep
from tuner.tracking import Tracker, TrackingSummary

LOST_RETRIES = 4  # of a trial whose worker or node is gone; a bug is never retried
SECONDS_FOR_TRACKING = 60.0
SECONDS_FOR_TRACKING_INTERRUPTED = 3.0


class Desk:
    """Where the events of a launch come together: the journal, MLflow, the board."""

    def __init__(self, plan: Plan, journal: Journal, tracker: Tracker, board: Board) -> None:
        self.plan, self.journal, self.tracker, self.board = plan, journal, tracker, board
        self.results = Results(plan.sweep, ())

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks for a restore of its own; a sweep is resumed from its journal instead."""
        return {}

    def caught_up(self) -> None:
        """Tells MLflow what a driver that was killed had in its journal and not yet there."""
        for trial in self.journal.trials.values():
            if trial.ended:
                best = self.results.best_metrics(trial)
                self.tracker.settle_trial(trial.id, trial.point, self._tags(trial), trial.state, trial.reason, best)
                self._tell_reports(trial)

    def started(self, trial: Trial) -> None:
        self.tracker.start_trial(trial.id, trial.point, self._tags(trial))
        self._tell_reports(trial)

    def reported(self, number: int, epoch: int, metrics: dict[str, float]) -> None:
        self.journal.write("report", trial=number, epoch=epoch, metrics=metrics)
        self._tell(self.journal.trials[number], epoch)

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
        self.tracker.report(trial.id, epoch, {**first, **metrics, **more}, trial.reported_at[epoch])

    def ended(self, number: int, state: str, reason: str) -> None:
        trial = self.journal.trials[number]
        if trial.ended:
            return
        self.journal.write("end", trial=number, state=state, reason=reason)
        self.tracker.end_trial(trial.id, state, reason, self.results.best_metrics(trial))
        self.board.ended(trial)


class JournalSearcher(Searcher):
    """Gives Ray the trials that an earlier launch left, then new points; all of them journaled before they start."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._left = [trial for trial in desk.journal.trials.values() if not trial.ended]

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        plan, journal = self._desk.plan, self._desk.journal
        if self._left:
            trial = self._left.pop(0)
        elif len(journal.trials) < plan.trials:
            number = len(journal.trials)
            point = plan.defaults if number == 0 else suggest(plan.sweep, number, journal.trials)
            journal.write("point", trial=number, point=point)
            trial = journal.trials[number]
        else:
            return Searcher.FINISHED
        self._desk.started(trial)
        experiment = refused = None
        try:
            experiment = plan.experiment(trial.point).model_dump_json()
        except UserError as error:
            refused = str(error)  # values that do not fit together: the trial says so in its first result
        return {
            NUMBER: trial.number,
            "experiment": experiment,
            "refused": refused,
            "resume_from": _newest(trial),
            "workers": plan.sweep.resources.workers,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder tells the journal, and the journal is all that the sampler looks at."""

    def save(self, checkpoint_path: str) -> None:
        """Ray wants a file; there is no state beside the journal to put in it."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


class Interruption:
    """Ctrl-C and SIGTERM, remembered until the recorder is between two events: then the sweep ends at once.

    Tune's own way waits for the epochs that are running, for as long as they take; the checkpoints are there already.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Signals reach the main thread alone; elsewhere the caller's handlers stay."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except KeyboardInterrupt:
            assert self.asked, "nobody else interrupts"
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def act(self) -> None:
        """Raises KeyboardInterrupt where it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


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


def launch(plan: Plan, journal: Journal, board: Board) -> tuple[Results, TrackingSummary]:
    """Runs what the journal has not ended yet; the journal is open and carries the header of the sweep."""
    sweep = plan.sweep
    tracker = Tracker(sweep.tracking, sweep.name, journal.header["launch"])
    desk = Desk(plan, journal, tracker, board)
    tracker.open({"sweep": sweep.name, "goal": sweep.goal}, {"sweep.json": sweep.model_dump_json(indent=2)})
    desk.caught_up()
    board.start(journal.trials)
    interruption = Interruption()
    try:
        # again once Ray is there: it listens to SIGTERM itself, and aborts
        with interruption.listening(), cluster.local_ray(sweep), interruption.listening():
            interruption.act()
            _fit(plan, desk, interruption)
    finally:
        board.stop()
        results = Results(sweep, tuple(journal.trials.values()))
        results.write(sweep.folder / "results.csv")
        best = {} if results.best is None else results.best_metrics(results.best)
        state = "finished" if journal.complete else "interrupted"
        patience = SECONDS_FOR_TRACKING if journal.complete else SECONDS_FOR_TRACKING_INTERRUPTED
        summary = tracker.close(state, best, {"results.csv": results.table.to_csv(index=False)}, patience)
    return results, summary


def header(plan: Plan) -> dict[str, Any]:
    """The first event of a journal."""
    return {
        "launch": uuid.uuid4().hex,
        "trials": plan.trials,
        "sweep": plan.sweep.model_dump(mode="json"),
        "versions": {"ray": ray.__version__, "python": platform.python_version()},
    }


def _fit(plan: Plan, desk: Desk, interruption: Interruption) -> None:
    sweep, journal = plan.sweep, desk.journal
    scheduler: TrialScheduler = FIFOScheduler()
    if sweep.scheduler.name == "asha":
        scheduler = SeededASHA(sweep, plan.epochs)
        scheduler.replay(journal.trials.values())
    remaining = plan.trials - sum(trial.ended for trial in journal.trials.values())
    attempts = len(list(sweep.folder.glob("launch-*"))) + 1
    tuner = tune.Tuner(
        tune.with_resources(RetrievalTrainable, _resources(sweep)),
        tune_config=TuneConfig(
            search_alg=JournalSearcher(desk),
            scheduler=scheduler,
            num_samples=remaining,
            max_concurrent_trials=sweep.budget.concurrent,
            time_budget_s=None if sweep.budget.hours is None else sweep.budget.hours * 3600,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"trial-{trial.config[NUMBER]:04d}",
        ),
        run_config=RunConfig(
            name=f"launch-{attempts}",
            storage_path=str(sweep.folder),
            verbose=0,
            callbacks=[Recorder(desk, scheduler, interruption)],
            failure_config=FailureConfig(max_failures=LOST_RETRIES),
            checkpoint_config=CheckpointConfig(
                num_to_keep=1,  # the best; Ray keeps the latest beside it
                checkpoint_score_attribute=sweep.objective.metric,
                checkpoint_score_order=sweep.objective.mode,
            ),
        ),
    )
    tuner.fit()


def _resources(sweep: Sweep) -> tune.PlacementGroupFactory:
    """Of one trial: a bundle for each worker, all on one node where they fit; who asks several takes none itself."""
    worker = {"CPU": float(sweep.resources.cpu), "GPU": sweep.resources.gpu}
    workers = sweep.resources.workers
    return tune.PlacementGroupFactory([worker] if workers == 1 else [{}] + [worker] * workers, strategy="PACK")


def _newest(trial: Trial) -> str | None:
    """The latest checkpoint of the trial that is still on disk."""
    for epoch in sorted(trial.checkpoints, reverse=True):
        if Path(trial.checkpoints[epoch]).is_dir():
            return trial.checkpoints[epoch]
    return None


def _logarithms(plan: Plan, trial: Trial) -> dict[str, float]:
    """log10 of what is searched on a log scale: MLflow's axes are linear."""
    return {
        f"log10/{key}": math.log10(trial.point[key])  # type: ignore[arg-type]
        for key, distribution in plan.sweep.distributions.items()
        if getattr(distribution, "log", False)
    }
