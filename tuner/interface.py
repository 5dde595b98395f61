"""The MLflow UI on this machine: one server on loopback, and direct links into it."""

import contextlib
import os
import signal
import socket
import subprocess

from trainables.errors import UserError
from tuner import store, tracking
from tuner.sweep import Sweep


def serve(sweep: Sweep, host: str, port: int) -> int:
    """Serves until Ctrl-C; UserError where the port is taken or there is nothing to show yet."""
    if sweep.tracking.startswith("http"):
        print(f"the runs of {sweep.name} are on {store.safe(sweep.tracking)}")
        return 0
    check_port(host, port)
    file = store.sqlite_file(sweep.tracking)
    if file is not None and not file.exists():
        raise UserError(f"there is no {file} yet: `roadmap-tune run` makes it")
    for name, link in tracking.links(sweep.tracking, sweep.name, host, port).items():
        print(f"{name:8} {link}", flush=True)
    command, environment = store.server(sweep.tracking, host, port)
    # a group of its own: Ctrl-C reaches us alone, and we end it without its traceback
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)


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
