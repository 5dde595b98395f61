"""The MLflow UI on this machine: one server on loopback, and direct links into it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import urllib.request
from http.client import HTTPException
from urllib.parse import quote, urlencode

from trainables.errors import UserError
from tuner import store, tracking
from tuner.sweep import Sweep

SECONDS_TO_ANSWER = 5.0
COMPARED = 30  # runs on one compare page: more lines are not told apart


def serve(sweep: Sweep, host: str, port: int) -> int:
    """Serves until Ctrl-C, but where a server of this store does already; UserError where something else has the port
    or there is nothing to show yet."""
    if sweep.tracking.startswith("http"):
        print(f"the runs of {sweep.name} are on {store.safe(sweep.tracking)}")
        return 0
    served = is_served(sweep, host, port)
    if not served:
        check_port(host, port)
    file = store.sqlite_file(sweep.tracking)
    if file is not None and not file.exists():
        raise UserError(f"there is no {file} yet: `roadmap-tune run` makes it")
    objective = sweep.objective
    for name, link in links(sweep.tracking, sweep.name, objective.metric, objective.mode, host, port).items():
        print(f"{name:8} {link}", flush=True)
    if served:
        return 0
    command, environment = store.server(sweep.tracking, host, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # a group of its own: Ctrl-C reaches us alone, and we end it without its traceback
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)


def links(uri: str, experiment: str, metric: str, mode: str, host: str, port: int) -> dict[str, str]:
    """Pages of a sweep's newest launch: its trials as a table, as charts, and the best of them side by side."""
    client, experiment_id = store.connect(uri, experiment)
    parents = client.search_runs([experiment_id], "tags.kind = 'sweep'", order_by=["start_time DESC"], max_results=1)
    children = f"tags.`{tracking.PARENT}` = '{parents[0].info.run_id if parents else ''}'"
    key = f"metrics.`best/{tracking.name(metric)}`"
    best_first = [f"{key} {'DESC' if mode == 'max' else 'ASC'}"]
    runs = client.search_runs([experiment_id], children, order_by=best_first, max_results=COMPARED)
    ids = quote(json.dumps([run.info.run_id for run in runs], separators=(",", ":")))
    base = f"http://{host}:{port}/#"
    # sorted by a metric the trials stand alone; else they hide below their parent, and the charts are empty
    shown = {"searchFilter": children, "orderByKey": key, "orderByAsc": str(mode == "min").lower()}
    table = f"{base}/experiments/{experiment_id}/runs?workflowType=machine_learning&{urlencode(shown, quote_via=quote)}"
    return {
        "runs": table,
        "charts": f"{table}&compareRunsMode=CHART",
        "compare": f"{base}/compare-runs?runs={ids}&experiments={quote(json.dumps([experiment_id]))}",
    }


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
