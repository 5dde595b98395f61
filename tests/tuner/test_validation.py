"""The validation block: what it makes of an Experiment, and how folds are told in results."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from trainables import compose
from trainables.errors import UserError
from tuner import load_sweep
from tuner.journal import Journal, Trial
from tuner.plan import make_plan, prepare_data
from tuner.results import Results
from tuner.summary import pixel_floor, ranking
from tuner.sweep import Sweep

FOLDS = "validation={protocol: kfold, folds: 3}"


@pytest.fixture
def folded(sweep_file: Path) -> Sweep:
    return load_sweep(sweep_file, [FOLDS])


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("validation={fraction: 0.25, seed: 3}", (0.25, None, None, 3, "class")),
        ("validation={fraction: 0.25, unit: super-class}", (0.25, None, None, 0, "super-class")),
        ("validation={protocol: kfold, folds: 5, unit: image}", (None, 5, 0, 0, "image")),
    ],
)
def test_protocols_and_units(sweep_file: Path, setting: str, expected: tuple[object, ...]) -> None:
    experience = compose(load_sweep(sweep_file, [setting]).fixed()).experience
    told = (experience.holdout, experience.kfold, experience.split, experience.split_random_state, experience.held_unit)
    assert told == expected


@pytest.mark.parametrize("path", ["experience.with_super_labels", "experience.closed_set"])
def test_the_unit_is_decided_in_one_place(sweep_file: Path, path: str) -> None:
    with pytest.raises(UserError, match=r"is decided by validation.unit"):
        make_plan(load_sweep(sweep_file, [f"train=[{path}=true]"]))


def test_folds_that_the_data_do_not_have_are_refused_before_launch(sweep_file: Path) -> None:
    plan = make_plan(load_sweep(sweep_file, ["validation={protocol: kfold, folds: 4, unit: super-class}"]))
    with pytest.raises(UserError, match="4 folds need at least 4 super-classes, there are 3"):
        prepare_data(plan.data, lambda what, done, total: None)


@pytest.mark.parametrize("protocol", ["holdout", "kfold"])
def test_a_batch_that_the_train_split_cannot_fill_is_refused_before_launch(sweep_file: Path, protocol: str) -> None:
    """24 classes of 5 images, of which a third is held out."""
    needs = ["train=[dataset.sampler.kwargs.batch_size=80]"]  # 20 classes
    validation = {"holdout": "fraction: 0.34", "kfold": "folds: 3"}[protocol]
    plan = make_plan(load_sweep(sweep_file, [*needs, f"validation={{protocol: {protocol}, {validation}}}"]))
    with pytest.raises(UserError, match="a batch needs 20 classes with at least 4 images, the data have 16"):
        prepare_data(plan.data, lambda what, done, total: None)


def test_the_spread_is_told_beside_the_mean(folded: Sweep) -> None:
    point = dict.fromkeys(folded.space, 0.01)
    trial = Trial(0, point, "finished")
    trial.reports = {1: {"val/map_at_r": 0.2, "folds/spread": 0.5}, 2: {"val/map_at_r": 0.3, "folds/spread": 0.0125}}
    results = Results(folded, (trial, Trial(1, point, "infeasible")))
    assert results.table["folds/spread"].tolist()[0] == 0.0125 and math.isnan(results.table["folds/spread"].tolist()[1])
    assert "0.3000 ± 0.0125" in ranking(results)[1]


def test_the_command_of_folds_is_a_loop(folded: Sweep) -> None:
    command = Results(folded, ()).command(Trial(7, {"loss.SupAP.tau": 0.02}), "program")
    assert command.startswith("for fold in 0 1 2; do program ") and command.endswith("; done")
    assert "experience.kfold=3 experience.split=$fold " in command
    assert "experience.experiment_name=small-0007-fold$fold" in command


def test_the_floor_of_folds_is_their_mean(folded: Sweep, sweep_file: Path) -> None:
    floor = pixel_floor(make_plan(folded))
    # 24 train classes of 5 images, each in one fold
    assert floor["num_queries"] == 24 * 5 / 3


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_over_folds(sweep_file: Path, tmp_path: Path, workers: int) -> None:
    settings = [FOLDS, "search.trials=2", "budget.concurrent=1", f"resources.workers={workers}"]
    command = [sys.executable, "-m", "tuner", "run", str(sweep_file), *(f"--set={setting}" for setting in settings)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert " ± " in done.stdout and "for fold in 0 1 2; do .venv/bin/roadmap-train " in done.stdout
    for trial in Journal.read(tmp_path / "runs" / "small").trials.values():
        assert trial.state in ("finished", "stopped")
        for report in trial.reports.values():
            own = [report[f"folds/{fold}/map_at_r"] for fold in range(3)]
            assert report["val/map_at_r"] == pytest.approx(sum(own) / 3)
            assert report["model/dim"] > 0 and report["time/embed_ms"] > 0
        best = trial.best("val/map_at_r", "max")
        assert best is not None
        assert len(list(Path(trial.checkpoints[best[0]]).glob("training.fold*.ckpt"))) == 3
