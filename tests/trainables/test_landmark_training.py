"""A training on SfM-120k, tested on Revisited Oxford and Paris, through the whole path that a user takes."""

import json
import shutil
from pathlib import Path

import pytest

from tests.landmark_files import write_landmarks
from trainables import Training, __main__, compose
from trainables.errors import UserError

PROTOCOLS = [
    f"{name}{protocol}{k}" for protocol in "EMH" for name, k in (("map", ""), ("mp", "_at_1"), ("mp", "_at_10"))
]


@pytest.fixture(scope="module")
def landmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_landmarks(tmp_path_factory.mktemp("landmarks"))


def overrides(root: Path) -> list[str]:
    """The presets of the landmarks with a network and images of seconds."""
    return [
        "experience=landmarks",
        "dataset=sfm120k",
        f"dataset.kwargs.data_dir={root}",
        "dataset.sampler.kwargs.batch_size=16",
        "transform.test.Resize.size=[32,32]",
        "experience.max_iter=1",
        "experience.num_threads=1",
        "experience.num_workers=0",
    ]


def test_one_epoch_is_tested_on_revisited_paris(landmarks: Path) -> None:
    training = Training(compose(overrides(landmarks)))
    report = training.epoch()
    assert report.metrics["train/images"] == 48
    assert {f"rparis6k/{name}" for name in PROTOCOLS} <= set(report.metrics)
    assert report.metrics["rparis6k/num_queries"] == 4
    assert all(0 <= report.metrics[f"rparis6k/{name}"] <= 1 for name in PROTOCOLS)
    assert not any(key.startswith(("roxford5k/", "test/", "val/")) for key in report.metrics)
    assert training.best is None, "the principal metric is of the validation split, and none is held out"


def test_without_eval_split_both_are_tested(landmarks: Path) -> None:
    report = Training(compose([*overrides(landmarks), "experience.eval_split=null"])).epoch()
    assert {"roxford5k/mapH", "rparis6k/mapH"} <= set(report.metrics)


def test_the_same_seed_gives_the_same_numbers(landmarks: Path) -> None:
    reports = [Training(compose(overrides(landmarks))).epoch().metrics for _ in range(2)]
    first, second = ({key: value for key, value in own.items() if not key.startswith("time/")} for own in reports)
    assert first == second


def test_held_out_clusters_choose_the_best_epoch_and_the_test_is_not_read(landmarks: Path, tmp_path: Path) -> None:
    shutil.copytree(landmarks, tmp_path / "copy", ignore=shutil.ignore_patterns("roxford5k", "rparis6k"))
    training = Training(
        compose(
            [
                *overrides(tmp_path / "copy"),
                "experience.holdout=0.4",
                "experience.principal_metric=map_at_r",
                "experience.test_eval_freq=-1",
            ]
        )
    )
    report = training.epoch()
    assert training.best == {"epoch": 1.0, "map_at_r": report.metrics["val/map_at_r"]}
    assert {"val/recall_at_1", "val/recall_at_10", "val/recall_at_100"} <= set(report.metrics)


def test_what_the_test_needs_is_missed_before_the_first_epoch(landmarks: Path, tmp_path: Path) -> None:
    shutil.copytree(landmarks, tmp_path / "copy", ignore=shutil.ignore_patterns("rparis6k"))
    with pytest.raises(UserError, match=r"rparis6k: .*gnd_rparis6k.pkl is missing"):
        Training(compose(overrides(tmp_path / "copy")))


def test_the_command_trains_and_prints_the_landmark_metrics(
    landmarks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main([*overrides(landmarks), f"experience.log_dir={tmp_path}"]) == 0
    assert "rparis6k/mapH" in capsys.readouterr().err
    written = json.loads((tmp_path / "sfm120k" / "reports.jsonl").read_text())
    assert {f"rparis6k/{name}" for name in PROTOCOLS} <= set(written)
