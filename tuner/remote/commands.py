"""`roadmap-tune COMMAND SWEEP --address HOST:PORT | --cluster FILE`: the same command, on the cluster's head.

Nothing of a sweep lies on this machine: its folder is in the cluster's storage, its driver is a job of the cluster.
"""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables import bucket
from trainables.errors import UserError
from tuner import cluster, places
from tuner.detachment import LAUNCHED
from tuner.remote.address import LOOPBACK, dashboard, parts
from tuner.remote.dashboard import Dashboard, check_versions
from tuner.remote.job import REFUSED, STOPPED, ConnectionGone, Jobs
from tuner.remote.launcher import Cluster
from tuner.remote.options import add_options
from tuner.remote.parcel import packed
from tuner.standing import located

BESIDE = ("confirm", "audit")  # they train, and are no launch of the sweep
AMENDMENTS = ("extend", "retry")  # of a sweep that runs its driver is asked, and nothing is launched
LAUNCHES = ("run", "resume", *AMENDMENTS, *BESIDE)  # they go on after this command
# what one may want afterwards: of one that ended well, and of one that did not
NEXT = {
    "run": (("results", "ui"), ("logs", "results", "resume")),
    "confirm": (("report", "ui"), ("logs", "confirm")),
    "audit": (("analysis", "report"), ("logs", "audit")),
}
DASHBOARD_PORT = 8265


@dataclass(frozen=True)
class Place:
    """A cluster within reach. option: how the user named it, to be repeated. cluster: of --cluster."""

    dashboard: Dashboard
    option: str
    cluster: Cluster | None


def carry_out(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """The command as a job of the cluster, its output here; its exit code."""
    options = argparse.ArgumentParser(add_help=False)
    add_options(options)
    _, words = options.parse_known_args(list(argv))
    command = words[0]
    for option in ("csv", "json", "seeds", "out"):
        if isinstance(getattr(arguments, option, None), Path):
            raise UserError(f"--{option}: a place on this machine, and {command} happens on the cluster; leave it out")
    name = _name(arguments)
    with _reached(arguments) as place:
        jobs = Jobs(place.dashboard)
        if command == "logs":
            return _logs(jobs, place, name, arguments)
        if command == "ui":
            return _ui(jobs, place, name, words, arguments.port)
        beside = jobs.newest(name, BESIDE) if command == "stop" else None
        if beside is not None and not jobs.ended(beside):
            jobs.stop(beside)
            print(f"{beside} is stopped; the same command goes on with it")
            return 0
        if command in LAUNCHES:
            return _launch(jobs, place, name, words, arguments)
        on_nodes = ["--address", cluster.HERE] if command in ("data", "pictures") else []
        code = _look(jobs, name, [*words, *on_nodes])
        if command == "report" and code == 0:
            how = "scp HEAD:PAGE ." if place.cluster is None else f"ray rsync-down {place.cluster.file} PAGE ."
            print(f"that is in the cluster's storage; to have the page here: {how}", file=sys.stderr)
        return code


@contextlib.contextmanager
def _reached(arguments: argparse.Namespace) -> Iterator[Place]:
    """UserError, after seconds, where the cluster is out of reach, refuses us or is another version."""
    if arguments.cluster is None:
        found = dashboard(arguments.address)
        check_versions(found)
        yield Place(found, f"--address {arguments.address}", None)
        return
    named = Cluster.read(arguments.cluster)
    with named.tunnel(DASHBOARD_PORT) as port:
        found = dashboard(f"127.0.0.1:{port}")
        found = Dashboard(found.url, found.token, f"--cluster {arguments.cluster}")
        check_versions(found)
        yield Place(found, f"--cluster {arguments.cluster}", named)


def _name(arguments: argparse.Namespace) -> str:
    """The sweep's; a path that is not here is a sweep's folder on the cluster."""
    if arguments.sweep is None:
        raise UserError("ui on a cluster takes the sweep: its file, or the name of its folder there")
    if bucket.is_bucket(arguments.sweep):
        return places.folder_at(arguments.sweep).name
    path = Path(arguments.sweep)
    if arguments.sweep.endswith((".yaml", ".yml")) or path.exists():
        return located(arguments.sweep, arguments.settings).name
    return path.name


def _launch(jobs: Jobs, place: Place, name: str, words: list[str], arguments: argparse.Namespace) -> int:
    words = [word for word in words if word != "--detach"]
    with packed([*words, "--address", cluster.HERE]) as (folder, sent):
        job = jobs.submit(sent, folder, name)
    print(f"job {job} on {place.dashboard.url}", file=sys.stderr)
    detach, begun = getattr(arguments, "detach", False), False

    def left(text: str) -> bool:
        nonlocal begun
        begun = begun or f"{name} {LAUNCHED}" in text
        return begun and detach

    try:
        if not jobs.follow(job, _shown, left):
            return _detached(name, place, arguments)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return _detached(name, place, arguments)
    except ConnectionGone as error:
        print(f"roadmap-tune: no connection to {place.dashboard.named} any more: {error}", file=sys.stderr)
        return _detached(name, place, arguments, code=1)
    code = jobs.code(job)
    if words[0] in AMENDMENTS and not begun:  # it asked the driver that runs, whose log is the sweep's
        jobs.forget(job)
    if code != REFUSED:  # it says itself what was wrong, and nothing has happened
        ends_well, ends_badly = NEXT.get(words[0], NEXT["run"])
        next_ones = ends_well if code == 0 else ends_badly
        print(f"from here: {'; '.join(_commands(place, arguments, *next_ones))}", file=sys.stderr)
    return code


def _detached(name: str, place: Place, arguments: argparse.Namespace, code: int = 0) -> int:
    print(f"detached: {name} goes on there without this machine. From any shell:", file=sys.stderr)
    for line in _commands(place, arguments, "logs", "status", "stop"):
        print(f"  {line}", file=sys.stderr)
    return code


def _commands(place: Place, arguments: argparse.Namespace, *commands: str) -> list[str]:
    """With what was laid over the file, its name and storage among it."""
    follow = {"logs": " --follow"}
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in arguments.settings)
    return [
        f"roadmap-tune {command} {arguments.sweep} {place.option}{settings}{follow.get(command, '')}"
        for command in commands
    ]


def _look(jobs: Jobs, name: str, words: list[str]) -> int:
    """A command that ends by itself; Ctrl-C ends it there too."""
    with packed(words) as (folder, sent):
        job = jobs.submit(sent, folder, name)
    try:
        jobs.follow(job, _shown)
        code = jobs.code(job)
    except KeyboardInterrupt:
        jobs.stop(job)
        return STOPPED
    except ConnectionGone as error:
        raise UserError(f"no answer from the cluster: {error}") from None
    jobs.forget(job)
    return code


def _logs(jobs: Jobs, place: Place, name: str, arguments: argparse.Namespace) -> int:
    job = jobs.newest(name, LAUNCHES)
    if job is None:
        raise UserError(f"{place.dashboard.named} has launched no sweep {name!r}")
    if not arguments.follow:
        _shown(jobs.log(job))
        return 0
    with contextlib.suppress(KeyboardInterrupt):
        jobs.follow(job, _shown)
    return 0


def _ui(jobs: Jobs, place: Place, name: str, words: list[str], port: int) -> int:
    """MLflow on the head's loopback, at the same port here: with --cluster at once, else by the line shown."""
    if place.cluster is not None:
        with place.cluster.tunnel(port, near=port):
            return _served(jobs, name, words, stays=True)
    _, host, _ = parts(place.option.removeprefix("--address "))
    head = "HEAD" if host in LOOPBACK else host
    print(f"in another shell, to see it here: ssh -N -L {port}:127.0.0.1:{port} {head}", file=sys.stderr)
    return _served(jobs, name, words, stays=False)


def _served(jobs: Jobs, name: str, words: list[str], stays: bool) -> int:
    """stays: where a server runs on the head already, the tunnel to it stays until Ctrl-C."""
    code = _look(jobs, name, words)
    if code == 0 and stays:
        print("Ctrl-C closes the tunnel", file=sys.stderr)
        with contextlib.suppress(KeyboardInterrupt):
            import threading

            threading.Event().wait()
    return 0 if code == STOPPED else code


def _shown(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
