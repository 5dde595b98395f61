"""Where relative paths of a sweep file lie: here, in a cluster's shared folder, or nowhere that lasts."""

from pathlib import Path

import pytest

from trainables.errors import UserError
from tuner import store
from tuner.places import ROOT, SHIPPED, placed
from tuner.sweep import Sweep


def test_below_the_working_folder_or_the_shared_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ROOT, raising=False)
    assert placed("runs", "storage") == tmp_path / "runs"
    assert placed("/else/where", "storage") == Path("/else/where")
    monkeypatch.setenv(ROOT, str(tmp_path / "shared"))
    assert placed("runs", "storage") == tmp_path / "shared" / "runs"
    assert placed("/else/where", "storage") == Path("/else/where")
    assert store.absolute("sqlite:///mlruns/mlflow.db") == f"sqlite:///{tmp_path}/shared/mlruns/mlflow.db"
    assert store.absolute("http://server:5000") == "http://server:5000"


def test_a_relative_path_is_refused_where_its_folder_does_not_last(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHIPPED, "1")
    monkeypatch.delenv(ROOT, raising=False)
    assert sweep.folder.is_absolute()
    with pytest.raises(UserError, match=r"storage='runs' is relative, .* has no ROADMAP_TUNE_STORAGE"):
        _ = sweep.model_copy(update={"storage": "runs"}).folder
    with pytest.raises(UserError, match=r"tracking='m\.db' is relative"):
        store.check("sqlite:///m.db")
