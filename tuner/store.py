"""Addresses of MLflow stores: what is valid, what they mean, how a server on one is started."""

import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from trainables.errors import UserError, unknown
from tuner.places import placed
from tuner.secrets import check_address, safe

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SCHEMES = ("sqlite", "postgresql", "mysql", "http", "https")


def sqlite_file(uri: str) -> Path | None:
    """The file of a sqlite store, its whole path; None for any other address."""
    return placed(uri.removeprefix("sqlite:///"), "tracking") if uri.startswith("sqlite:///") else None


def absolute(uri: str) -> str:
    """The address with a sqlite file's whole path, the same from every folder."""
    file = sqlite_file(uri)
    return uri if file is None else f"sqlite:///{file}"


def check(uri: str) -> None:
    """UserError for an address that cannot take a sweep; creates nothing."""
    check_address("tracking", uri)
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise unknown("tracking scheme", scheme, SCHEMES, where=f"tracking={safe(uri)}")
    file = sqlite_file(uri)
    if scheme == "sqlite" and file is None:
        raise UserError(f"tracking={uri!r}: a sqlite store is written sqlite:///PATH")
    if file is not None:
        existing = next(folder for folder in file.parents if folder.exists())
        if not os.access(existing, os.W_OK):
            raise UserError(f"tracking={uri!r}: {existing} cannot be written to")
    if scheme in ("http", "https"):
        parts = urlparse(uri)
        port = parts.port or (443 if scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=5).close()
        except OSError as error:
            raise UserError(f"tracking={safe(uri)}: no server answers ({error})") from None


def connect(uri: str, experiment: str) -> "tuple[MlflowClient, str]":
    """The store's client, and the id of the experiment, which is made where there is none."""
    # who calls tries again, and looks first: MLflow's own tries, for minutes, could make a run twice
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow.tracking import MlflowClient

    # after the import, which sets levels of its own
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    file = sqlite_file(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=absolute(uri))
    found = client.get_experiment_by_name(experiment)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return client, str(found.experiment_id)
    place = None if file is None else (file.parent / "artifacts" / experiment).resolve().as_uri()
    return client, str(client.create_experiment(experiment, artifact_location=place))


def attach(uri: str, experiment: str, launch_id: str, folder: Path, place: str) -> str:
    """The folder's files as artifacts of the launch's parent run, below `place`; "", or why they are not there."""
    from trainables.errors import first_line

    file = sqlite_file(uri)
    if file is not None and not file.expanduser().is_file():
        return f"there is no store at {uri}"
    try:
        client, experiment_id = connect(uri, experiment)
        condition = f"tags.launch_id = '{launch_id}' and tags.kind = 'sweep'"
        runs = client.search_runs([experiment_id], condition, max_results=1)
        if not runs:
            return f"{safe(uri)} has no run of this sweep"
        client.log_artifacts(runs[0].info.run_id, str(folder), place)
    except Exception as error:  # whatever MLflow raises: the report itself is written
        return f"{type(error).__name__}: {first_line(error)}"
    return ""


def holds(client: "MlflowClient", run_id: str, file: str) -> bool:
    """Whether the run has the artifact; False too where its place does not answer."""
    try:
        return any(found.path == file for found in client.list_artifacts(run_id, file.rpartition("/")[0]))
    except Exception:  # whatever an artifact store raises: there is nothing to be shown
        return False


def server(uri: str, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of an MLflow UI on this store, as lean as it goes."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", absolute(uri)]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return command, {**os.environ, **lean}
