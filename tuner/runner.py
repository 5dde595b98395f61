"""A Plan on Ray Tune, from launch to results. Every event goes through the journal first, then to who listens."""

import platform
import uuid
from typing import Any

import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from trainables.trainable import RetrievalTrainable
from tuner import cluster
from tuner.asha import NUMBER, SeededASHA
from tuner.board import Board
from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.journal import Journal
from tuner.plan import Plan
from tuner.recorder import LOST_RETRIES, Recorder
from tuner.results import Results
from tuner.searcher import JournalSearcher
from tuner.sweep import Sweep
from tuner.tracking import Tracker, TrackingSummary

SECONDS_FOR_TRACKING = 60.0
SECONDS_FOR_TRACKING_INTERRUPTED = 3.0


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
        tune.with_resources(RetrievalTrainable, resources(sweep)),
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


def resources(sweep: Sweep) -> tune.PlacementGroupFactory:
    """Of one trial: a bundle for each worker, all on one node where they fit; who asks several takes none itself."""
    worker = {"CPU": float(sweep.resources.cpu), "GPU": sweep.resources.gpu}
    workers = sweep.resources.workers
    return tune.PlacementGroupFactory([worker] if workers == 1 else [{}] + [worker] * workers, strategy="PACK")
