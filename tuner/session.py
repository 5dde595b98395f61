"""One launch of a sweep from file to results, and the rules of its folder: what may start, go on, or start over."""

import contextlib
import datetime
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trainables.console import Bars
from trainables.errors import UserError
from tuner import budget, cluster, logbook, mirror, nodes, presets, probe, scheduling
from tuner.amendments import extended
from tuner.board import Board
from tuner.control import ALIKE, alike
from tuner.detachment import LAUNCHED
from tuner.journal import Journal
from tuner.logbook import Logbook
from tuner.plan import Plan, make_plan, prepare_data
from tuner.results import Results
from tuner.sampling import copy_earlier, earlier_sweeps
from tuner.standing import Standing
from tuner.sweep import Sweep

if TYPE_CHECKING:
    from tuner.runner import Outcome

RESUMABLE = ("goal", "budget", "confirm", "storage", "tracking")  # may differ between two launches of one sweep


def run(sweep: Sweep, *, resume: bool = False, fresh: bool = False, stream: IO[str] | None = None) -> Results:
    """Checks, prepares the data, runs every trial that has not ended; the results so far where it is interrupted.

    resume: go on with the folder's sweep. fresh: set an earlier one aside and start over. UserError where the folder
    holds a sweep and neither is said, or where it is another sweep.
    """
    return run_plan(planned(sweep, resume=resume, fresh=fresh), resume=resume, fresh=fresh, stream=stream).results


def planned(sweep: Sweep, *, resume: bool = False, fresh: bool = False) -> Plan:
    """The plan of a launch that may start; on resume with the trials that `extend` added."""
    check_folder(sweep, resume=resume, fresh=fresh)
    room = nodes.room() if cluster.is_joined() else None
    return make_plan(extended(sweep, Journal.read(sweep.folder)) if resume else sweep, room=room)


def run_plan(
    plan: Plan,
    *,
    resume: bool = False,
    fresh: bool = False,
    stream: IO[str] | None = None,
    alone: bool = False,
    verbose: bool = False,
) -> "Outcome":
    """`run` for a plan that has been made, with how it ended.

    alone: this process does nothing else, so what it writes to standard error belongs into the sweep's log. verbose:
    Ray's and the workers' output is shown as well, in lines instead of the table.
    """
    check_folder(plan.sweep, resume=resume, fresh=fresh)
    stream = stream or sys.stderr
    earlier = earlier_sweeps(plan.sweep, fresh=fresh)
    said, without = tell_and_prepare(plan, stream, [str(one) for one in earlier])
    probe.check_memory(plan.sweep, plan.base, nodes.measure if cluster.is_joined() else None)
    cluster.prepare_environment(plan.sweep)
    from tuner import runner

    if fresh:
        set_aside(plan.sweep.folder)
    journal = Journal(plan.sweep.folder)
    journal.open()
    try:
        log = Logbook(plan.sweep.folder)
        log.write("\n".join([f"{plan.sweep.name}: a launch of {plan.trials} trials, pid {os.getpid()}", *said]))
        apart = logbook.standard_error(log) if alone and not verbose else contextlib.nullcontext(stream)
        with contextlib.closing(log), apart as console:
            rungs = scheduling.rungs(plan.sweep, plan.epochs)
            board = Board(plan.sweep, plan.trials, plan.epochs, rungs, console, log, plain=verbose)
            aside = board.aside if verbose else None
            with logbook.listening(log, board.line, aside), mirror.kept(journal.folder, board.line) as kept:
                if not journal.header:
                    journal.write("sweep", **runner.header(plan))
                copy_earlier(earlier, journal)
                if cluster.is_joined():
                    where = f"{plan.trials} trials in {plan.sweep.place}"
                    print(f"{plan.sweep.name} {LAUNCHED}{where}", file=console, flush=True)
                return runner.launch(plan, journal, board, level=logging.INFO, kept=kept, avoided=without)
    finally:
        journal.close()


def tell_and_prepare(plan: Plan, stream: IO[str], said: Sequence[str] = ()) -> tuple[list[str], dict[str, str]]:
    """What is said, the plan's warnings; then the data sets, built or fetched where they can be.

    All that was told; and the ids of nodes that have not the data -> why.
    """
    told = [*said, *(f"warning: {warning}" for warning in plan.warnings)]
    with Bars(stream) as bars:
        for line in told:
            bars.line(line)
        prepared = _prepared(plan, bars)
        for line in prepared.told:
            bars.line(line)
    return [*told, *prepared.told], prepared.without


def _prepared(plan: Plan, bars: Bars) -> nodes.Prepared:
    """The data sets where trials will run."""
    if not cluster.is_joined():
        return nodes.Prepared(prepare_data(plan.data, bars.update), {})
    nodes.check_storage(plan.sweep)
    return nodes.prepare(plan.data, plan.sweep, bars)


def check_folder(sweep: Sweep, *, resume: bool, fresh: bool) -> None:
    """UserError where a launch would mix with, overwrite or repeat an earlier one."""
    folder = sweep.folder
    if resume and fresh:
        raise UserError("--resume and --fresh exclude each other")
    mirror.check(folder)
    standing = Standing.found(folder)
    if standing is not None and standing.running:
        raise UserError(f"sweep {sweep.name!r} is {standing.words()}: `roadmap-tune status` follows it")
    if standing is None or not standing.journal.header:  # a driver may be killed before it writes anything
        if resume:
            raise UserError(f"there is no sweep to resume in {sweep.place}")
        existing = next(parent for parent in folder.parents if parent.exists())
        if not os.access(existing, os.W_OK):
            raise UserError(f"storage={sweep.storage!r}: {existing} cannot be written to")
        return
    journal = standing.journal
    if fresh:
        return
    state = "is finished" if journal.complete else "was interrupted"
    if not resume:
        goes_on = "" if journal.complete else "`roadmap-tune resume` (--resume) goes on with it, "
        raise UserError(
            f"sweep {sweep.name!r} {state} in {sweep.place}: {goes_on}--fresh sets it aside and starts over"
        )
    check_same(journal, sweep)
    if journal.complete:
        raise UserError(f"sweep {sweep.name!r} {state}: `roadmap-tune extend` adds trials, --fresh starts over")
    _check_worth(journal, sweep)


def check_same(journal: Journal, sweep: Sweep) -> None:
    """UserError where the journal is another sweep's."""
    changed = _changed(journal, sweep)
    if changed:
        raise UserError(
            f"the sweep in {sweep.place} has another {changed}: --fresh starts over, another name starts beside it"
        )


def set_aside(folder: Path) -> None:
    """Renames the folder of an earlier sweep."""
    if not folder.exists():
        return
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{folder.name}.before-{stamp}"
    mirror.set_aside(folder, name)
    folder.rename(folder.with_name(name))


def _check_worth(journal: Journal, sweep: Sweep) -> None:
    """UserError where a launch would end at once."""
    spent = budget.exhausted(journal, sweep)
    if spent:
        raise UserError(f"{spent}: `roadmap-tune extend` adds some")
    cause = alike(journal.trials)
    if cause:
        how = f"`roadmap-tune retry --{journal.trials[0].state}`"
        raise UserError(f"the first {ALIKE} trials failed alike: {cause}; fix it, then {how}")


def _changed(journal: Journal, sweep: Sweep) -> str:
    """The first key in which the journal's sweep differs where it must not; "" where there is none."""
    before, now = dict(journal.header["sweep"]), sweep.model_dump(mode="json")
    # the journal has the points as they were planned: with the presets' values where the file leaves a key out
    now["search"]["points"] = list(presets.whole_points(sweep))
    # any number of workers goes on from a checkpoint of any other
    before["resources"] = {"custom": {}, **before["resources"], "workers": now["resources"]["workers"]}
    if "trials" in journal.extension and now["search"]["trials"] == journal.extension["trials"]:
        before["search"] = {**before["search"], "trials": now["search"]["trials"]}
    return next((key for key in now if key not in RESUMABLE and before.get(key) != now[key]), "")
