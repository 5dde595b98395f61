"""An export in MLflow's model registry: a version of the sweep's model that `mlflow models serve` serves."""

import io
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import trainables.pictures
from trainables.errors import first_line
from trainables.exported import model
from tuner import secrets, store, tracking

CHAMPION, CANDIDATE = "champion", "candidate"
PACKAGES = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow")


@dataclass(frozen=True)
class Entry:
    """What the registry is told of an export. name: of the model; description: one sentence."""

    folder: Path
    name: str
    description: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    confirmed: bool

    @property
    def alias(self) -> str:
        return CHAMPION if self.confirmed else CANDIDATE


@dataclass(frozen=True)
class Registered:
    """version: of the model in the registry; trouble: why it is not there."""

    version: str = ""
    trouble: str = ""


def register(entry: Entry, uri: str) -> Registered:
    """A new version of the model at the MLflow store `uri`, with its alias: champion where it is confirmed."""
    file = store.sqlite_file(uri)
    if file is not None and not file.is_file():
        return Registered(trouble=f"there is no store at {uri}")
    try:
        return _register(entry, uri)
    except Exception as error:  # whatever MLflow raises: the export itself is whole
        return Registered(trouble=f"{secrets.safe(uri)}: {type(error).__name__}: {first_line(error)}")


def _register(entry: Entry, uri: str) -> Registered:
    name = entry.name
    client, experiment_id = store.connect(uri, name)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    from mlflow.exceptions import MlflowException

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(store.absolute(uri))  # of the whole process, and of its environment
    try:
        given = {**entry.tags, "kind": "export"}
        with mlflow.start_run(experiment_id=experiment_id, run_name=f"export {entry.alias}", tags=given) as run:
            finite = {tracking.name(key): value for key, value in entry.metrics.items() if np.isfinite(value)}
            mlflow.log_metrics(finite)
            logged = _logged(entry.folder)
        try:
            client.get_registered_model(name)
        except MlflowException:
            client.create_registered_model(name, tags={"sweep": name})
        version = client.create_model_version(
            name,
            logged.model_uri,
            run.info.run_id,
            tags=dict(entry.tags),
            description=entry.description,
            model_id=logged.model_id,
        )
        client.set_registered_model_alias(name, entry.alias, version.version)
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None: as if nobody had
    return Registered(str(version.version))


def _logged(folder: Path) -> Any:
    """The pyfunc model: its script is run from its own file, and what that reads travels beside it."""
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    from tuner.takehome import served

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, served.COLUMN)]),
        outputs=Schema([ColSpec(Array(DataType.float), served.ANSWER)]),
    )
    with tempfile.TemporaryDirectory() as work:
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(served.__file__)),
            artifacts={served.ARTIFACT: str(folder)},
            code_paths=[str(carried(Path(work) / served.CARRIED))],
            signature=signature,
            input_example=pd.DataFrame({served.COLUMN: [_example()]}),
            pip_requirements=[f"{package}=={_version(package)}" for package in PACKAGES],
        )


def carried(package: Path) -> Path:
    """`pictures` and `exported.model` as a package of their own, for a machine without this project."""
    for file, below in ((trainables.pictures.__file__, ""), (model.__file__, "exported")):
        (package / below).mkdir(parents=True, exist_ok=True)
        (package / below / "__init__.py").touch()
        shutil.copy(str(file), package / below)
    return package


def _example() -> bytes:
    """A PNG of 32 x 32 pixels."""
    ramp = np.arange(32 * 32 * 3, dtype=np.uint16).reshape(32, 32, 3) // 12
    data = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(data, "PNG")
    return data.getvalue()


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
