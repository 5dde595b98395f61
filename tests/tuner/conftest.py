"""A small sweep over the tests' data set."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuner.board import Board
from tuner.desk import Desk
from tuner.journal import Journal
from tuner.plan import make_plan
from tuner.sweep import Sweep, load_sweep

WRITTEN = {
    "name": "small",
    "goal": "find out whether the tests pass",
    "train": ["dataset.sampler.kwargs.batch_size=16", "experience.max_iter=4"],
    "space": {
        "loss.SupAP.tau": {"loguniform": [0.001, 0.1]},
        "loss.CalibrationLoss.weight": {"uniform": [0.0, 2.0]},
        "optimizer.backbone.lr": {"loguniform": [0.0001, 0.01]},
    },
    "search": {"trials": 6, "startup": 3, "seed": 1},
    "scheduler": {"name": "asha", "grace": 1, "reduction": 2},
    "validation": {"fraction": 0.34},
}


@pytest.fixture
def sweep_file(tmp_path: Path, tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file whose results and store lie in tmp_path."""
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tiny_emoji))
    written = {**WRITTEN, "storage": str(tmp_path / "runs"), "tracking": f"sqlite:///{tmp_path}/mlruns/mlflow.db"}
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(written))
    return file


@pytest.fixture
def sweep(sweep_file: Path) -> Sweep:
    return load_sweep(sweep_file)


class Silent:
    """In place of MLflow's tracker: takes everything and keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *values, **named: None


@pytest.fixture
def desk(sweep: Sweep) -> Iterator[Desk]:
    """Of a launch whose first trial has been drawn; nothing goes to MLflow."""
    plan = make_plan(sweep)
    journal = Journal(sweep.folder)
    journal.open()
    journal.write("sweep", trials=plan.trials, epochs=plan.epochs)
    journal.write("launch", host="here", pid=1)
    journal.write("point", trial=0, point=plan.defaults)
    yield Desk(plan, journal, Silent(), Board(sweep, plan.trials, plan.epochs, []))  # type: ignore[arg-type]
    journal.close()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables and nothing in them: making them takes seconds."""
    from tuner import store

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    store.connect(f"sqlite:///{file}", "Default")
    return file


@pytest.fixture
def made_store(empty_store: Path, tmp_path: Path) -> None:
    """The store of `sweep_file`, made before the sweep is launched."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
