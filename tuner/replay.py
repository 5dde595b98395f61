"""`roadmap-tune track`: what a sweep's journal has and its MLflow has not, written there afterwards."""

import argparse
import json
import sys

from trainables.errors import UserError
from tuner.board import Board
from tuner.desk import Desk
from tuner.journal import Journal
from tuner.plan import Plan, make_plan
from tuner.results import Results
from tuner.session import RESUMABLE
from tuner.standing import existing, located
from tuner.sweep import Sweep
from tuner.tracking import Tracker, TrackingSummary

SECONDS = 600.0


def track(arguments: argparse.Namespace) -> int:
    """The exit code: 1 where MLflow does not take all of it."""
    sweep = located(arguments.sweep, arguments.settings)
    standing = existing(sweep)
    if standing.running:
        raise UserError(f"sweep {sweep.name!r} is {standing.words()}: its driver writes what waits")
    # the file may have changed since, or --set say something else: what was trained is what is told
    ran = Sweep.model_validate_json(json.dumps(standing.journal.header["sweep"]))
    ran = ran.model_copy(update={key: getattr(sweep, key) for key in RESUMABLE})
    written = replay(make_plan(ran, here=False), standing.journal)
    if written.failed:
        print(f"warning: {written.failed} writes did not reach MLflow: {written.first_error}", file=sys.stderr)
        return 1
    print(f"{len(standing.journal.trials)} trials of {sweep.name} are in MLflow as the journal has them")
    return 0


def replay(plan: Plan, journal: Journal, seconds: float = SECONDS) -> TrackingSummary:
    """Runs, epochs and ends, from the journal alone; what is there already is not written again."""
    sweep, last = plan.sweep, journal.launches[-1]
    tracker = Tracker(sweep.tracking, sweep.name, journal.header["launch"])
    desk = Desk(plan, journal, tracker, Board(sweep, journal.planned, plan.epochs, [], sys.stderr))
    desk.open()
    desk.caught_up()
    for trial in journal.trials.values():
        if not trial.ended and trial.reports:
            desk.started(trial)
    results = Results(sweep, tuple(journal.trials.values()))
    return desk.close(results, last.state or "interrupted", last.reason, seconds)
