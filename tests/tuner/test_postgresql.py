"""MLflow's server on PostgreSQL, artifacts through it: a real database, gone with the test."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tuner.tracking import Tracker

pytestmark = pytest.mark.slow
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]


@pytest.fixture
def database() -> Iterator[str]:
    """The address of an empty database; PostgreSQL does not run as root."""
    if not PROGRAMS or os.geteuid() != 0:
        pytest.skip("a PostgreSQL of the tests' own needs root and Debian's package postgresql")
    pytest.importorskip("psycopg")
    folder, port = Path(tempfile.mkdtemp(prefix="postgresql-")), free_port()  # pytest's own are root's alone
    shutil.chown(folder, "postgres")

    def run(program: str, *arguments: str) -> None:
        command = [
            "runuser",
            "-u",
            "postgres",
            "--",
            str(PROGRAMS[0] / program),
            "-D",
            str(folder / "data"),
            *arguments,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    run("initdb", "--auth=trust", "--no-sync")
    run("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", f"-p {port} -h 127.0.0.1 -k {folder} -F")
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder)


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[str]:
    """As docs/cluster/storage.md starts it on the head."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        database,
        "--serve-artifacts",
        "--artifacts-destination",
        str(tmp_path / "files"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, env=environment, start_new_session=True
        )
    try:
        until = time.monotonic() + 90
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < until and process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_runs_are_in_the_database_and_artifacts_behind_the_server(server: str, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    for launch in range(2):  # the second time as a driver that goes on
        tracker = Tracker(server, "kept", "launch")
        tracker.open({"goal": "test"}, {"sweep.json": "{}"})
        tracker.start_trial("0000", {"loss.SupAP.tau": 0.01}, {})
        for epoch in range(1, 3 + launch):
            tracker.report("0000", epoch, {"val/map_at_r": 0.1 * epoch}, 1000.0 + epoch)
        tracker.end_trial("0000", "finished", "", {"val/map_at_r": 0.3})
        summary = tracker.close("finished", {}, {"results.csv": "a,b\n"}, 60)
        assert summary.failed == 0, summary
    client = MlflowClient(server)
    found = client.get_experiment_by_name("kept")
    every = client.search_runs([found.experiment_id])
    [trial] = [run for run in every if "trial_id" in run.data.tags]
    [parent] = [run for run in every if "trial_id" not in run.data.tags]
    history = client.get_metric_history(trial.info.run_id, "val/map_at_r")
    assert sorted(metric.step for metric in history) == [1, 2, 3]
    assert parent.info.artifact_uri.startswith("mlflow-artifacts:")
    assert {file.name for file in (tmp_path / "files").rglob("*") if file.is_file()} == {"sweep.json", "results.csv"}
