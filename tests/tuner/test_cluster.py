"""What a sweep sets of Ray: its environment before it is imported, and its own record, by its own controller."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from tuner import cluster


def controller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TuneController:
    """Of a launch with three trials."""
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1")  # else it asks a cluster
    syncer = SimpleNamespace(wait=lambda: None, sync_up=lambda *places: True)
    storage = SimpleNamespace(experiment_driver_staging_path=folder, experiment_fs_path=folder, syncer=syncer)
    made = TuneController(storage=storage, checkpoint_period=1e9)  # type: ignore[arg-type]
    for number in range(3):
        trial = Trial("x", stub=True, config={"number": number, "experiment": "x" * 10_000})
        made._trials.append(trial)
        made._mark_trial_to_checkpoint(trial)
    return made


def recorded(made: TuneController, folder: Path) -> tuple[int, int]:
    """Trials in the record that Ray writes as it does when a sweep ends, and its bytes."""
    made.checkpoint(force=True, wait=True)
    (file,) = folder.glob("experiment_state-*.json")
    return len(json.loads(file.read_text())["trial_data"]), file.stat().st_size


def test_rays_own_record_has_no_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this fails Ray's internals have changed: a sweep of 10,000 trials ends with minutes of writing again."""
    made = controller(tmp_path, monkeypatch)
    with cluster.no_record():
        trials, size = recorded(made, tmp_path)
    assert trials == 0 and size < 5_000
    trials, size = recorded(made, tmp_path)
    assert trials == 3 and size > 3 * 10_000


def test_another_ray_records_as_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(TuneController, "_get_trial_checkpoints")
    with cluster.no_record():
        assert not hasattr(TuneController, "_get_trial_checkpoints")
    assert not hasattr(TuneController, "_get_trial_checkpoints")


def test_a_command_sets_rays_environment_before_it_is_imported() -> None:
    """Else Ray starts without a token of the sweep's own."""
    loaded = "import sys, tuner.commands, tuner.nodes, tuner.session; print('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout == "False\n"


def test_a_laptop_asks_a_cluster_without_loading_what_trains() -> None:
    loaded = "import sys, tuner.remote.commands; print({'torch', 'torchvision', 'mlflow', 'optuna'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout == "set()\n"
