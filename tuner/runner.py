"""A Plan on Ray Tune, from launch to results. Every event goes through the journal first, then to who listens."""

import platform
import uuid
from typing import Any

import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig

from trainables.trainable import RetrievalTrainable
from tuner import cluster
from tuner.board import Board
from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.journal import Journal
from tuner.plan import Plan
from tuner.recorder import LOST_RETRIES, Recorder
from tuner.results import Results
from tuner.scheduling import make_rule
from tuner.scheduling.tune import RuleScheduler
from tuner.searcher import JournalSearcher, folder_name
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
    rule = make_rule(sweep, plan.epochs, plan.trials)
    rule.replay(journal.trials.values(), sweep.objective.metric)
    recorder = Recorder(desk, rule, interruption)
    for number in rule.dropped:  # decided, and the driver was killed before it was written
        desk.started(journal.trials[number])
    recorder.tell_dropped()
    attempts = len(list(sweep.folder.glob("launch-*"))) + 1
    tuner = tune.Tuner(
        tune.with_resources(RetrievalTrainable, resources(sweep)),
        tune_config=TuneConfig(
            search_alg=JournalSearcher(desk, rule),
            scheduler=RuleScheduler(rule, sweep.objective.metric),
            num_samples=-1,  # until the searcher has no more
            max_concurrent_trials=sweep.budget.concurrent,
            time_budget_s=None if sweep.budget.hours is None else sweep.budget.hours * 3600,
            reuse_actors=True,
            trial_dirname_creator=folder_name,
        ),
        run_config=RunConfig(
            name=f"launch-{attempts}",
            storage_path=str(sweep.folder),
            verbose=0,
            callbacks=[recorder],
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
