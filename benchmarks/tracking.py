"""What a report costs the thread that drives a sweep, with 16 trials at a time: ours beside Ray's own callback.

python -m benchmarks.tracking

Ours hands a report to a thread. The driver here has work of its own for each report, 16 of them a second; what it pays
is the call, and all that the thread computes meanwhile: two threads of Python take turns. Ray's callback writes where
it is called, so what it pays is its call. Reports have as many numbers as a sweep's.
"""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Row, table
from tuner import store
from tuner.tracking import Tracker
from tuner.writer import SECONDS_TO_GATHER

SUBJECT = "tracking"
TRIALS, EPOCHS = 16, 5
SECONDS_BETWEEN = 1 / TRIALS  # of two reports
WORK_S = 0.01  # of the driver for one report: docs/scale.md
GOAL_MS = 5.0
LESS = 4.0  # times
METRICS = ("val/map_at_r", *(f"val/{name}" for name in ("recall_at_1", "recall_at_10", "r_precision", "num_queries")),
           "train/SupAP", "train/CalibrationLoss", "train/total", "train/images", "train/lr_backbone", "time/epoch_s",
           "time/train_s", "time/evaluation_s", "system/cpu_utilization_percentage",
           "system/memory_usage_megabytes", "throughput/images_per_s", "best/val/map_at_r", "best/epoch")  # fmt: skip


def run(full: bool) -> list[Row]:
    """full: more epochs."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, opened in (("a sqlite file", _file), ("a server on loopback", _server)):
            with opened(folder / name.replace(" ", "-")) as uri:
                call, paid, cpu = _ours(uri, 4 * EPOCHS if full else EPOCHS)
                waited, computed = _rays(uri, 4 if full else 1)
            rows += [
                Row(SUBJECT, f"{name}: what the driver pays for a report", GOAL_MS, paid, at_least=False, unit="ms"),
                Row(SUBJECT, f"{name}: of it the call", None, call, unit="ms"),
                Row(SUBJECT, f"{name}: CPU of the writing thread for a report", None, cpu, unit="ms"),
                Row(SUBJECT, f"{name}: what it pays for Ray's MLflowLoggerCallback", None, waited, unit="ms"),
                Row(SUBJECT, f"{name}: CPU of that", None, computed, unit="ms"),
                Row(SUBJECT, f"{name}: CPU, Ray's beside our call and thread", LESS, computed / (call + cpu)),
            ]
    return rows


def _metrics(trial: int, epoch: int) -> dict[str, float]:
    return {key: 0.01 * trial + 0.1 * epoch + 0.001 * place for place, key in enumerate(METRICS)}


def _ours(uri: str, epochs: int) -> tuple[float, float, float]:
    """(the call, call and what the thread takes meanwhile, CPU of the thread in all) for one report, in ms."""
    tracker = Tracker(uri, "ours", "launch")
    tracker.open({"goal": "a benchmark"}, {})
    for trial in range(TRIALS):
        tracker.start_trial(f"{trial:04d}", {"loss.SupAP.tau": 0.01 * trial}, {})
    while tracker._writer.waiting:
        time.sleep(0.05)
    thread = next(one for one in threading.enumerate() if one.name == "tracking")
    calls, meanwhile, before = [], [], _cpu_s(thread)
    for epoch in range(1, epochs + 1):
        for trial in range(TRIALS):
            metrics, taken = _metrics(trial, epoch), _cpu_s(thread)
            started = time.thread_time()
            tracker.report(f"{trial:04d}", epoch, metrics, time.time())
            calls.append(time.thread_time() - started)
            _work()
            meanwhile.append(_cpu_s(thread) - taken)
            time.sleep(SECONDS_BETWEEN - WORK_S)
        while tracker._writer.waiting:
            time.sleep(0.05)
        time.sleep(2 * SECONDS_TO_GATHER)  # what was taken last is being written
    cpu = (_cpu_s(thread) - before) / (epochs * TRIALS)
    written = tracker.close("finished", {}, {}, 120)
    assert not written.failed, written
    call = statistics.mean(calls)
    return 1000 * call, 1000 * (call + statistics.mean(meanwhile)), 1000 * cpu


def _cpu_s(thread: threading.Thread) -> float:
    """CPU seconds that a thread of this process has had."""
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def _rays(uri: str, epochs: int) -> tuple[float, float]:
    """(the callback's call, CPU of it) for one report, in ms, as Tune calls it."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    class Named:
        def __init__(self, number: int) -> None:
            self.config = {"loss.SupAP.tau": 0.01 * number}

    store.connect(uri, "rays")
    callback = MLflowLoggerCallback(tracking_uri=store.absolute(uri), experiment_name="rays")
    callback.setup()
    trials: list[Any] = [Named(number) for number in range(TRIALS)]
    for trial in trials:
        callback.log_trial_start(trial)
    started, cpu = time.perf_counter(), time.thread_time()
    for epoch in range(1, epochs + 1):
        for number, trial in enumerate(trials):
            callback.log_trial_result(epoch, trial, {**_metrics(number, epoch), "training_iteration": epoch})
    paid, cpu = time.perf_counter() - started, time.thread_time() - cpu
    for trial in trials:
        callback.log_trial_end(trial)
    return 1000 * paid / (epochs * TRIALS), 1000 * cpu / (epochs * TRIALS)


def _work() -> None:
    """WORK_S seconds of CPU."""
    until = time.thread_time() + WORK_S
    while time.thread_time() < until:
        sum(range(200))


@contextlib.contextmanager
def _file(folder: Path) -> Iterator[str]:
    folder.mkdir()
    yield f"sqlite:///{folder}/mlflow.db"


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    """As `roadmap-tune ui` starts it."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command, environment = store.server(f"sqlite:///{folder}/mlflow.db", "127.0.0.1", port)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, start_new_session=True, cwd=folder, **quiet)
    try:
        until = time.monotonic() + 90
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < until and process.poll() is None, "the server does not come"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


if __name__ == "__main__":
    print(table(run("--full" in sys.argv)))
