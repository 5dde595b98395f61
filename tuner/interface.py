"""The MLflow UI on this machine: one server on loopback, and direct links into it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from http.client import HTTPException
from typing import IO
from urllib.parse import quote, urlencode

from trainables.errors import UserError, first_line
from tuner import secrets, store, views
from tuner.journal import FILE
from tuner.places import placed
from tuner.standing import located
from tuner.sweep import Sweep

SECONDS_TO_ANSWER = 5.0
SECONDS_TO_START = 120.0
SECONDS_BETWEEN_LOOKS = 0.3
TOLD = 10  # last lines of a server that has ended by itself
COMPARED = 10  # runs on one compare page: more are not read side by side
REPORT = "report/report.html"  # of `roadmap-tune report`, below the parent's artifacts


def serve(sweep: Sweep, host: str, port: int) -> int:
    """Serves until Ctrl-C, but where a server of this store does already; UserError where something else has the port
    or there is nothing to show yet."""
    if sweep.tracking.startswith("http"):
        return _shown_elsewhere(sweep)
    served = is_served(sweep, host, port)
    if not served:
        check_port(host, port)
    file = store.sqlite_file(sweep.tracking)
    if file is not None and not file.exists():
        raise UserError(f"there is no {file} yet: `roadmap-tune run` makes it")
    found = links(sweep, f"http://{host}:{port}")
    if served:
        _show(found)
        return 0
    command, environment = store.server(sweep.tracking, host, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryFile("w+") as said:
        # a group of its own: Ctrl-C reaches us alone, and we end it without its traceback
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            if _answers(process, host, port):
                _show(found)
                print("Ctrl-C ends the server", file=sys.stderr)
                process.wait()
            return _gone(process, said)
        except KeyboardInterrupt:
            return 0
        finally:
            _end(process)


def newest() -> Sweep:
    """The sweep here in which something happened last; UserError where there is none."""
    folder = placed(Sweep.model_fields["storage"].default, "storage")
    journals = sorted(folder.glob(f"*/{FILE}"), key=lambda file: file.stat().st_mtime)
    if not journals:
        raise UserError(f"there is no sweep in {folder} yet: `roadmap-tune run` makes one; or name a sweep's file")
    others = sorted(file.parent.name for file in journals[:-1])
    if others:
        print(f"{journals[-1].parent.name} is the newest sweep; also here: {', '.join(others)}", file=sys.stderr)
    return located(str(journals[-1].parent), [])


def links(sweep: Sweep, address: str) -> dict[str, str]:
    """Pages of a sweep's newest launch: its trials as a table and as charts, the best side by side, the launch.

    What table and charts show is written into the store, as a shared view of the experiment. UserError where the store
    has no launch.
    """
    client, experiment = store.connect(sweep.tracking, sweep.name)
    parents = client.search_runs([experiment], "tags.kind = 'sweep'", order_by=["start_time DESC"], max_results=1)
    if not parents:
        raise UserError(
            f"{secrets.safe(sweep.tracking)} has no run of {sweep.name!r}: `roadmap-tune track` writes them"
        )
    parent = parents[0].info.run_id
    client.set_experiment_tag(experiment, views.TAG + views.KEY, views.tag(sweep, parent))
    best_first = [f"metrics.`{views.best(sweep)}` {'DESC' if sweep.objective.mode == 'max' else 'ASC'}"]
    runs = client.search_runs([experiment], views.children(parent), order_by=best_first, max_results=COMPARED)
    ids = json.dumps([run.info.run_id for run in runs], separators=(",", ":"))
    base = f"{address}/#"
    training = {"workflowType": "machine_learning"}  # else MLflow's pages for language models
    shared = urlencode({**training, "viewStateShareKey": views.KEY})
    # the page wants them first
    compared = urlencode({"runs": ids, "experiments": json.dumps([experiment]), **training}, quote_via=quote)
    table = f"{base}/experiments/{experiment}/runs?{shared}"
    launch = f"{base}/experiments/{experiment}/runs/{parent}"
    found = {
        "trials": table,
        "charts": f"{table}&compareRunsMode=CHART",
        "compare": f"{base}/compare-runs?{compared}",
        "launch": f"{launch}?{urlencode(training)}",
    }
    if store.holds(client, parent, REPORT):
        found["report"] = f"{launch}/artifacts/{REPORT}?{urlencode(training)}"
    return found


def _shown_elsewhere(sweep: Sweep) -> int:
    """A server is there already."""
    address = secrets.safe(sweep.tracking).rstrip("/")
    print(f"the runs of {sweep.name} are on {address}")
    try:
        _show(links(sweep, address))
    except UserError:
        raise
    except Exception as error:  # whatever MLflow raises: who looks may be let in where we are not
        print(f"warning: no links into it: {type(error).__name__}: {first_line(error)}", file=sys.stderr)
    return 0


def _show(found: dict[str, str]) -> None:
    for title, link in found.items():
        print(f"{title:8} {link}", flush=True)
    if "report" not in found:
        print("`roadmap-tune report` adds a page that says what was found", file=sys.stderr)


def _answers(process: "subprocess.Popen[bytes]", host: str, port: int) -> bool:
    """Waits until the server answers; False where it does not or has ended."""
    until = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=SECONDS_TO_ANSWER):
                return True
        except OSError:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return False


def _gone(process: "subprocess.Popen[bytes]", said: IO[str]) -> int:
    """The server does not serve, and nobody has asked it to end: its last words."""
    said.seek(0)
    print("\n".join(said.read().splitlines()[-TOLD:]), file=sys.stderr)
    how = "does not answer" if process.poll() is None else f"ended with code {process.returncode}"
    print(f"MLflow's server {how}: the above is what it said", file=sys.stderr)
    return 1


def is_served(sweep: Sweep, host: str, port: int) -> bool:
    """Whether an MLflow server is there that knows the sweep, such as the one on a cluster's head."""
    query = f"experiment_name={quote(sweep.name)}"
    address = f"http://{host}:{port}/api/2.0/mlflow/experiments/get-by-name?{query}"
    try:
        with urllib.request.urlopen(address, timeout=SECONDS_TO_ANSWER) as answer:
            found = json.load(answer)["experiment"]["experiment_id"]
    except (OSError, ValueError, KeyError, HTTPException):
        return False
    return bool(found == store.connect(sweep.tracking, sweep.name)[1])


def check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise UserError(f"port {port} of {host} is taken: --port takes another") from None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The server and the workers it has started."""
    for number, patience in ((signal.SIGTERM, 8), (signal.SIGKILL, 8)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
