"""A real `mlflow server` of a test's own: with a login, killed and started again on the same files; what it holds."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.ports import free_port

NAME, PASSWORD = "keeper", "hunter2-of-the-keeper"
LOGIN = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/login.db
admin_username = {name}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""


class Server:
    """Files in `folder`; artifacts go through it."""

    def __init__(self, folder: Path, login: bool) -> None:
        self.folder, self.port, self.login = folder, free_port(), login
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "login.ini").write_text(LOGIN.format(folder=folder, name=NAME))

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--serve-artifacts", "--artifacts-destination", str(self.folder / "files")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        if self.login:
            command += ["--app-name", "basic-auth"]
            environment |= {
                "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "login.ini"),
                "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "only for this test",
            }
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=environment, start_new_session=True
            )
        until = time.monotonic() + 90
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert time.monotonic() < until and self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.2)

    def kill(self) -> None:
        """-9, its workers too."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def contents(uri: str, experiment: str) -> dict[str, Any]:
    """trial_id, or kind where there is none -> all that its run holds, but for names that the store itself made up."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    every = client.search_runs([found.experiment_id])
    keys = {run.info.run_id: run.data.tags.get("trial_id", run.data.tags["kind"]) for run in every}
    assert len(set(keys.values())) == len(every), "a run is there twice"
    told = {}
    for run in every:
        tags = dict(run.data.tags)
        tags["mlflow.parentRunId"] = keys.get(tags.get("mlflow.parentRunId", ""), "")
        tags = {key: value for key, value in tags.items() if key != "mlflow.user"}
        histories = {
            key: [(one.step, one.value, one.timestamp) for one in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        info = (run.info.status, run.info.start_time, run.info.end_time)
        told[keys[run.info.run_id]] = {
            "tags": tags, "params": run.data.params, "metrics": histories, "files": files, "info": info,
        }  # fmt: skip
    return told
