"""A Plan on Ray Tune, from launch to results. Every event goes through the journal first, then to who listens."""

import logging
import os
import platform
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from ray.tune.experiment import Trial as RayTrial

from trainables import bucket
from trainables.errors import first_line
from trainables.patience import patiently
from trainables.trainable import RetrievalTrainable
from tuner import cluster, places, provenance, requests, retention, secrets
from tuner.board import Board
from tuner.control import Control
from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.journal import Journal
from tuner.mirror import Mirror
from tuner.placement import placed
from tuner.plan import Plan
from tuner.recorder import Recorder
from tuner.results import Results
from tuner.scheduling import make_rule
from tuner.scheduling.tune import NUMBER, RuleScheduler
from tuner.searcher import JournalSearcher
from tuner.tracking import Tracker, TrackingSummary

SECONDS_FOR_TRACKING = 60.0
SECONDS_FOR_TRACKING_INTERRUPTED = 3.0


@dataclass(frozen=True)
class Outcome:
    """What a launch came to. state: finished (every trial has ended), stopped (the budget), interrupted, failed."""

    plan: Plan
    results: Results
    state: str
    reason: str
    written: TrackingSummary


def launch(
    plan: Plan,
    journal: Journal,
    board: Board,
    trainable: Any = RetrievalTrainable,
    level: int = logging.ERROR,
    kept: Mirror | None = None,
    avoided: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Runs what the journal has not ended yet; the journal is open and carries the header of the sweep.

    trainable: what Ray runs of a trial; one that replays curves takes its place where the driver is measured.
    level: from which Ray logs. kept: of a sweep in S3. avoided: ids of nodes that have not the data -> why.
    """
    sweep = plan.sweep
    requests.take(sweep.folder)  # those that an earlier driver did not live to see
    interruption = Interruption()

    def told(error: OSError | None) -> None:
        board.storage(error)
        interruption.act()

    journal.told = told
    journal.write("launch", host=platform.node(), pid=os.getpid(), about=provenance.of_launch())
    if kept is not None:
        kept.lost = interruption.ask
        kept.send(told)
    tracker = Tracker(sweep.tracking, sweep.name, journal.header["launch"])
    desk = Desk(plan, journal, tracker, board, bucket.remove if kept is None else kept.discard)
    desk.open()
    gone = patiently(lambda: retention.remove_strays(journal, sweep.objective), told)
    if kept is not None:
        kept.missing(gone)
    desk.settle()
    desk.caught_up()
    board.start(journal.trials)
    control = Control(desk, interruption)
    for node, why in avoided.items():
        control.avoid(node, why, others=1)
    state, reason = "failed", "the driver has a bug"
    try:
        # again once Ray is there: it listens to SIGTERM itself, and aborts
        with interruption.listening(), cluster.local_ray(level=level), interruption.listening():
            interruption.act()
            if not journal.complete:
                _quieten(level)
                _fit(desk, control, trainable)
        state, reason = control.state or "interrupted", control.reason
        if journal.complete and state != "failed":
            state, reason = "finished", ""
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise
    finally:
        board.stop()
        journal.write("left", state=state, reason=reason)
        results = Results(sweep, tuple(journal.trials.values()))
        patiently(lambda: results.write(sweep.folder / "results.csv"), told)
        patience = SECONDS_FOR_TRACKING if journal.complete else SECONDS_FOR_TRACKING_INTERRUPTED
        written = desk.close(results, state, reason, patience)
    return Outcome(desk.plan, results, state, reason, written)


def header(plan: Plan) -> dict[str, Any]:
    """The first event of a journal."""
    return {
        "launch": uuid.uuid4().hex,
        "trials": plan.trials,
        "epochs": plan.epochs,
        "sweep": plan.sweep.model_dump(mode="json"),
        "data": provenance.fingerprints(plan.data),
        "versions": {"ray": ray.__version__, "python": platform.python_version()},
    }


def _fit(desk: Desk, control: Control, trainable: Any) -> None:
    plan, journal = desk.plan, desk.journal
    sweep = plan.sweep
    rule = make_rule(sweep, plan.epochs, plan.trials)
    rule.replay(journal.trials.values(), sweep.objective.metric)
    recorder = Recorder(desk, rule, control)
    for number in rule.dropped:  # decided, and the driver was killed before it was written
        desk.started(journal.trials[number])
    recorder.tell_decided()
    secrets.keep_from_arguments()
    tuner = tune.Tuner(
        tune.with_resources(trainable, partial(placed, sweep.resources.model_dump())),
        tune_config=TuneConfig(
            search_alg=JournalSearcher(desk, rule, control),
            scheduler=RuleScheduler(rule, sweep.objective.metric),
            num_samples=-1,  # the searcher says when it is done
            reuse_actors=True,
            trial_dirname_creator=_folder,
        ),
        run_config=RunConfig(
            name=f"launch-{len(journal.launches)}",
            **places.for_ray(journal.home),
            verbose=0,
            callbacks=[recorder],
            failure_config=FailureConfig(max_failures=0),  # there is one way back, from the journal
            # a report asks for its own; at the end there may be no training to save, only why there is none
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    with cluster.no_record():
        tuner.fit()


def _quieten(level: int) -> None:
    """Ray Tune writes a traceback for each lost worker, as an error: a log is the place for it. It misses the files of
    loggers that are turned off, for each trial: nowhere is."""
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    for noisy in ("ray.tune.execution.tune_controller", "ray.tune.tune"):
        logging.getLogger(noisy).setLevel(logging.NOTSET if level < logging.ERROR else logging.CRITICAL)


def _folder(trial: RayTrial) -> str:
    """One trial may be in Ray's hands twice in a launch: it was tried again."""
    return f"trial-{trial.config[NUMBER]:04d}-{trial.trial_id.rpartition('_')[2]}"
