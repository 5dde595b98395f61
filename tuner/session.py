"""One launch of a sweep from file to results, and the rules of its folder: what may start, go on, or start over."""

import datetime
import os
import sys
from pathlib import Path
from typing import IO

from trainables.console import Bars
from trainables.errors import UserError
from tuner import cluster, probe, scheduling
from tuner.board import Board
from tuner.journal import FILE, Journal, running
from tuner.plan import Plan, make_plan, prepare_data
from tuner.results import Results
from tuner.sampling import copy_earlier, earlier_sweeps
from tuner.sweep import Sweep
from tuner.tracking import TrackingSummary


def run(sweep: Sweep, *, resume: bool = False, fresh: bool = False, stream: IO[str] | None = None) -> Results:
    """Checks, prepares the data, runs every trial that has not ended; the results so far where it is interrupted.

    resume: go on with the folder's sweep. fresh: set an earlier one aside and start over. UserError where the folder
    holds a sweep and neither is said, or where it is another sweep.
    """
    return run_plan(make_plan(sweep), resume=resume, fresh=fresh, stream=stream)[0]


def run_plan(
    plan: Plan, *, resume: bool = False, fresh: bool = False, stream: IO[str] | None = None
) -> tuple[Results, TrackingSummary]:
    """`run` for a plan that has been made, with what became of the writes to MLflow."""
    _check_folder(plan.sweep, resume=resume, fresh=fresh)
    stream = stream or sys.stderr
    earlier = earlier_sweeps(plan.sweep, fresh=fresh)
    with Bars(stream) as bars:
        for one in earlier:
            bars.line(str(one))
        for warning in plan.warnings:
            bars.line(f"warning: {warning}")
        for line in prepare_data(plan, bars.update):
            bars.line(line)
    probe.check_memory(plan.sweep, plan.base)
    cluster.prepare_environment(plan.sweep)
    from tuner import runner

    if fresh:
        _set_aside(plan.sweep.folder)
    journal = Journal(plan.sweep.folder)
    journal.open()
    try:
        if not journal.header:
            journal.write("sweep", **runner.header(plan))
        copy_earlier(earlier, journal)
        board = Board(plan.sweep, plan.trials, plan.epochs, scheduling.rungs(plan.sweep, plan.epochs), stream)
        return runner.launch(plan, journal, board)
    finally:
        journal.close()


def _check_folder(sweep: Sweep, *, resume: bool, fresh: bool) -> None:
    """UserError where a launch would mix with, overwrite or repeat an earlier one."""
    folder = sweep.folder
    if resume and fresh:
        raise UserError("--resume and --fresh exclude each other")
    if running(folder):
        raise UserError(f"sweep {sweep.name!r} is running in {folder}: `roadmap-tune status` follows it")
    if not (folder / FILE).is_file():
        if resume:
            raise UserError(f"there is no sweep to resume in {folder}")
        existing = next(parent for parent in folder.parents if parent.exists())
        if not os.access(existing, os.W_OK):
            raise UserError(f"storage={sweep.storage!r}: {existing} cannot be written to")
        return
    journal = Journal.read(folder)
    if fresh:
        return
    state = "is finished" if journal.complete else "was interrupted"
    if not resume:
        goes_on = "" if journal.complete else "--resume goes on with it, "
        raise UserError(f"sweep {sweep.name!r} {state} in {folder}: {goes_on}--fresh sets it aside and starts over")
    if journal.complete:
        raise UserError(f"sweep {sweep.name!r} {state}; there is nothing to resume: --fresh starts over")
    changed = _changed(journal, sweep)
    if changed:
        raise UserError(
            f"the sweep in {folder} has another {changed}: --fresh starts over, another name starts beside it"
        )


RESUMABLE = ("goal", "budget", "storage", "tracking")  # may differ between two launches of one sweep


def _changed(journal: Journal, sweep: Sweep) -> str:
    """The first key in which the journal's sweep differs where it must not; "" where there is none."""
    before, now = dict(journal.header["sweep"]), sweep.model_dump(mode="json")
    # any number of workers goes on from a checkpoint of any other
    before["resources"] = {**before["resources"], "workers": now["resources"]["workers"]}
    return next((key for key in now if key not in RESUMABLE and before.get(key) != now[key]), "")


def _set_aside(folder: Path) -> None:
    if not folder.exists():
        return
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder.rename(folder.with_name(f"{folder.name}.before-{stamp}"))
