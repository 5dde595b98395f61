"""What `roadmap-tune`'s commands for sweeps do; each gives the exit code."""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError
from tuner import detachment, logbook, mirror, requests, tables
from tuner.journal import Journal
from tuner.logbook import Logbook
from tuner.standing import Standing, existing, located
from tuner.sweep import Sweep, load_sweep

if TYPE_CHECKING:
    from tuner.plan import Plan
    from tuner.runner import Outcome

SECONDS_TO_ANSWER = 30.0  # a driver that is starting Ray looks at requests afterwards
SECONDS_BETWEEN_LOOKS = 1.0
FINISHED, FAILED = 0, 1


def run(arguments: argparse.Namespace) -> int:
    """Launches a sweep, or goes on with it."""
    from tuner import cluster, session

    sweep = load_sweep(arguments.sweep, arguments.settings)
    how = {"resume": arguments.resume, "fresh": arguments.fresh}
    with cluster.joined(sweep, arguments.address):
        plan = session.planned(sweep, **how)
        if not arguments.detach:
            return _ended(arguments, session.run_plan(plan, **how, alone=True, verbose=arguments.verbose))
        session.tell_and_prepare(plan, sys.stderr)
    if arguments.fresh:
        session.set_aside(sweep.folder)
    return _detached(arguments, plan)


def extend(arguments: argparse.Namespace) -> int:
    """More trials or hours: of a running sweep at once, of another one with a launch."""
    from tuner import amendments
    from tuner.amendments import Extension

    more = Extension(arguments.trials or 0, arguments.hours or 0.0, arguments.gpu_hours or 0.0)
    if more == Extension():
        raise UserError("extend takes --trials N, --hours H or --gpu-hours H")
    sweep = load_sweep(arguments.sweep, arguments.settings)
    if existing(sweep).running:
        return _asked(sweep, "extend", trials=more.trials, hours=more.hours, gpu_hours=more.gpu_hours)
    from tuner.plan import make_plan

    with _opened(sweep) as journal:
        # the launch that follows looks at the room for a trial, on a cluster that of all nodes
        plan = make_plan(amendments.extended(sweep, journal), here=False, launching=False)
        amendments.extend(journal, plan, more)
    return _goes_on(arguments)


def retry(arguments: argparse.Namespace) -> int:
    """Trials that ended badly go on: in a running sweep at once, in another one with a launch."""
    from tuner import amendments

    states = [state for state in ("failed", "lost", "infeasible") if getattr(arguments, state)]
    if not states:
        raise UserError("retry takes --failed, --lost or --infeasible")
    sweep = load_sweep(arguments.sweep, arguments.settings)
    if existing(sweep).running:
        return _asked(sweep, "retry", states=states)
    with _opened(sweep) as journal:
        numbers = amendments.retry(journal, states)
    print(f"{len(numbers)} trials go on: {', '.join(f'{number:04d}' for number in numbers)}", file=sys.stderr)
    return _goes_on(arguments)


def concurrent(arguments: argparse.Namespace) -> int:
    """Another number of trials at a time, while the sweep runs."""
    sweep = located(arguments.sweep, arguments.settings)
    if arguments.number < 1:
        raise UserError(f"concurrent {arguments.number}: at least 1 trial at a time")
    if not existing(sweep).running:
        raise UserError(f"sweep {sweep.name!r} is not running: `resume --set budget.concurrent={arguments.number}`")
    return _asked(sweep, "concurrent", number=arguments.number)


def stop(arguments: argparse.Namespace) -> int:
    """Ends a running sweep, and waits until it has ended."""
    sweep = located(arguments.sweep, arguments.settings)
    standing = existing(sweep)
    if not standing.running:
        raise UserError(f"sweep {sweep.name!r} is not running: it is {standing.words()}")
    code = _asked(sweep, "stop", now=arguments.now)
    while code == FINISHED and (standing := standing.again()).running:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if code == FINISHED:
        print(f"{sweep.name} is {standing.words()}; `roadmap-tune resume {arguments.sweep}` goes on")
    return code


def status(arguments: argparse.Namespace) -> int:
    """Where a sweep stands; with --follow until it runs no longer or Ctrl-C."""
    from tuner.overview import status_lines

    sweep = located(arguments.sweep, arguments.settings)
    standing = existing(sweep)
    if arguments.follow and standing.running:
        with contextlib.suppress(KeyboardInterrupt):
            standing = _followed(sweep, standing)
    print("\n".join(status_lines(sweep, standing, tables.columns(sys.stdout))))
    return 0


def logs(arguments: argparse.Namespace) -> int:
    """A sweep's log; with --follow until it runs no longer or Ctrl-C."""
    folder = located(arguments.sweep, arguments.settings).folder
    file = folder / logbook.FILE
    if not file.is_file():
        raise UserError(f"there is no {file}: `roadmap-tune run` writes it")
    with file.open(errors="replace") as log, contextlib.suppress(KeyboardInterrupt):
        standing = Standing.of(folder) if arguments.follow else None
        while True:
            sys.stdout.write(log.read())
            sys.stdout.flush()
            if standing is None or not standing.running:
                return FINISHED
            time.sleep(SECONDS_BETWEEN_LOOKS)
            standing = standing.again()
    return FINISHED


def track(arguments: argparse.Namespace) -> int:
    """What MLflow could not take, from the journal."""
    from tuner import replay

    return replay.track(arguments)


def check(arguments: argparse.Namespace) -> int:
    """Everything that can be known before launch."""
    from tuner.check import check_lines
    from tuner.plan import make_plan

    plan = make_plan(load_sweep(arguments.sweep, arguments.settings), here=False)
    print("\n".join(check_lines(plan, probe=not arguments.no_probe)))
    return 0


def ui(arguments: argparse.Namespace) -> int:
    """The MLflow UI."""
    from tuner.interface import newest, serve

    sweep = newest() if arguments.sweep is None else located(arguments.sweep, arguments.settings)
    return serve(sweep, "127.0.0.1", arguments.port)


def _goes_on(arguments: argparse.Namespace) -> int:
    return run(argparse.Namespace(**{**vars(arguments), "resume": True, "fresh": False}))


@contextlib.contextmanager
def _opened(sweep: Sweep) -> Iterator[Journal]:
    """The journal of a sweep that does not run, for an amendment."""
    from tuner import session

    journal = Journal(sweep.folder)
    journal.open()
    try:
        with mirror.kept(sweep.folder, lambda line: print(line, file=sys.stderr)):
            session.check_same(journal, sweep)
            yield journal
    finally:
        journal.close()


def _asked(sweep: Sweep, kind: str, **values: Any) -> int:
    """Leaves a request for the driver and prints what it says to it."""
    identity = requests.ask(sweep.folder, kind, **values)
    said = requests.answer(sweep.folder, identity, SECONDS_TO_ANSWER)
    if said is None:
        requests.withdraw(sweep.folder, identity)
        standing = Standing.of(sweep.folder)
        raise UserError(f"the driver gives no answer for {SECONDS_TO_ANSWER:g} s: {sweep.name} is {standing.words()}")
    refused = said.startswith(requests.REFUSED)
    print(f"{sweep.name}: {said}", file=sys.stderr if refused else sys.stdout)
    return 2 if refused else FINISHED


def _detached(arguments: argparse.Namespace, plan: "Plan") -> int:
    folder = plan.sweep.folder
    settings = [word for setting in arguments.settings for word in ("--set", setting)]
    command = "resume" if arguments.resume else "run"
    joined = ["--address", arguments.address] if arguments.address else []
    joined += ["--verbose"] if arguments.verbose else []
    pid = detachment.start(folder, [command, arguments.sweep, *settings, *joined])
    log = folder / detachment.LOG
    if not pid:
        print(f"the driver ended before it launched; {log} says why, at its end:", file=sys.stderr)
        print("\n".join(log.read_text().splitlines()[-3:]), file=sys.stderr)
        return FAILED
    print(f"{plan.sweep.name} runs, pid {pid}; its log: {folder / logbook.FILE}")
    print(f"  roadmap-tune status {arguments.sweep} --follow")
    print(f"  roadmap-tune stop {arguments.sweep}")
    return FINISHED


def _followed(sweep: Sweep, standing: Standing) -> Standing:
    """The live board, from the journal alone."""
    from tuner import scheduling
    from tuner.board import Board

    epochs = int(standing.journal.header["epochs"])
    board = Board(sweep, standing.journal.planned, epochs, scheduling.rungs(sweep, epochs), sys.stdout)
    try:
        while standing.running:
            journal = standing.journal
            told = {trial.number for trial in journal.trials.values() if trial.ended}
            board.start(journal.trials)
            while standing.running and standing.journal is journal:  # another one: the sweep has begun anew
                board.planned(journal.planned)
                for trial in journal.trials.values():
                    if trial.ended and trial.number not in told:
                        told.add(trial.number)
                        board.ended(trial)
                board.refresh()
                time.sleep(SECONDS_BETWEEN_LOOKS)
                standing = standing.again()
    finally:
        board.stop()
    return standing


def _ended(arguments: argparse.Namespace, outcome: "Outcome") -> int:
    """Prints what a launch came to, and writes it into the sweep's log, where the table is whole."""
    from tuner import cluster, nodes
    from tuner.summary import closing_lines, last_words, pixel_floor

    plan, results = outcome.plan, outcome.results
    floor: dict[str, float] = {}
    if results.best is not None and cluster.is_joined():
        floor = nodes.on_some(pixel_floor, plan, resources=plan.sweep.resources, data=plan.data[:1])
    elif results.best is not None:
        floor = pixel_floor(plan)
    code, said = last_words(outcome, arguments.sweep)
    log = Logbook(plan.sweep.folder)
    log.write("\n".join([*closing_lines(plan, results, arguments.sweep, floor), *said]))
    log.close()
    print("\n".join(closing_lines(plan, results, arguments.sweep, floor, tables.columns(sys.stdout))))
    for line in said:
        print(line, file=sys.stderr)
    return code
