"""One epoch through `Training` on every data set of files, and what bad images do to it."""

import os
from pathlib import Path

import pytest
import torch

from tests.trainables.data.miniatures import CLASSES, IMAGES_A_CLASS, WRITERS
from tests.trainables.data.test_on_disk import paths
from trainables import Training, compose
from trainables.__main__ import main
from trainables.data import (
    BadImage,
    FileImages,
    MPerClassSampler,
    StanfordOnlineProducts,
    TrainLoader,
    build_transform,
    eval_batches,
    same_size,
)
from trainables.errors import UserError
from trainables.evaluation import pixel_embeddings

SMALL = {"RandomResizedCrop": {"size": 32, "scale": [0.5, 1.0]}, "RandomHorizontalFlip": None, "ToTensor": None}


def overrides(name: str, folder: Path) -> list[str]:
    """conv4 at 32 px, a batch of 4 classes, the test split after every epoch."""
    return [
        f"dataset={name}",
        f"dataset.kwargs.data_dir={folder}",
        "dataset.sampler.name=MPerClassSampler",
        "dataset.sampler.kwargs={batch_size: 16, samples_per_class: 4}",
        "transform=cub",
        "transform.train.RandomResizedCrop.size=32",
        "transform.test.Resize.size=36",
        "transform.test.CenterCrop.size=32",
        "experience.max_iter=1",
        "experience.holdout=0.4",
        "experience.test_eval_freq=1",
        "experience.num_threads=1",
        "experience.num_workers=0",
    ]


@pytest.mark.parametrize("name", WRITERS)
def test_one_epoch(tmp_path: Path, name: str) -> None:
    training = Training(compose(overrides(name, WRITERS[name](tmp_path))))
    assert training.splits["train"] + training.splits["val"] == CLASSES * IMAGES_A_CLASS
    metrics = training.epoch().metrics
    assert metrics["train/images"] >= 16 and metrics["train/loss"] > 0
    ks = training.experiment.dataset.ks
    for split in ("val", "test"):
        assert {f"{split}/recall_at_{k}" for k in ks} <= set(metrics)
    (test,) = training.test_splits()
    queries = CLASSES * IMAGES_A_CLASS // (2 if name in ("inshop", "csv") else 1)
    assert metrics["test/num_queries"] == queries == len(test.query)
    assert (test.gallery is not None) == (name in ("inshop", "csv"))
    assert 0 < metrics["test/recall_at_1"] <= 1 and metrics["test/map_at_r"] > 0.05
    training.close()


def test_equal_trainings_give_equal_reports_with_and_without_workers(tmp_path: Path) -> None:
    chosen = overrides("sop", WRITERS["sop"](tmp_path))
    reports = []
    for workers in (0, 2):
        training = Training(compose([*chosen, f"experience.num_workers={workers}"]))
        reports.append({key: value for key, value in training.epoch().metrics.items() if not key.startswith("time/")})
        training.close()
    assert reports[0] == reports[1]


@pytest.mark.parametrize(
    "asked, of_the_trial, of_the_machine, used", [(16, 3, 8, 3), (2, 3, 8, 2), (16, None, 8, 8), (16, 8, 4, 4)]
)
def test_loaders_are_as_many_as_the_cores_of_the_trial_and_live_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: int,
    of_the_trial: int | None,
    of_the_machine: int,
    used: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(of_the_machine)), raising=False)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    chosen = overrides("sop", WRITERS["sop"](tmp_path))
    threads = f"experience.num_threads={'null' if of_the_trial is None else of_the_trial}"
    training = Training(compose([*chosen, f"experience.num_workers={asked}", threads]))
    loader = training._loader._loader._loader
    assert loader.num_workers == used and loader.persistent_workers
    assert loader.pin_memory == (training.device.type == "cuda")
    training.close()


def test_batches_of_files_do_not_depend_on_who_loads_them(tmp_path: Path) -> None:
    images = StanfordOnlineProducts(str(WRITERS["sop"](tmp_path))).train()

    def epochs(workers: int) -> list[torch.Tensor]:
        loader = TrainLoader(
            images, build_transform(SMALL), MPerClassSampler(images.labels, 16, 4, 1), seed=5, workers=workers
        )
        try:
            return [batch[0] for epoch in (1, 2) for batch in loader.epoch(epoch)]
        finally:
            loader.close()

    alone, helped = epochs(0), epochs(2)
    assert len(alone) == len(helped) >= 4
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_one_line_with_its_path_whoever_meets_it(tmp_path: Path, workers: int) -> None:
    images = StanfordOnlineProducts(str(WRITERS["sop"](tmp_path))).train()
    (tmp_path / paths(images)[11]).write_bytes(b"not a picture")
    with pytest.raises(BadImage) as caught:
        list(eval_batches(images, build_transform(SMALL), 8, workers=workers))
    told = f"{tmp_path / paths(images)[11]} is not an image; dataset.on_bad_image=skip leaves such images out"
    assert str(caught.value) == told


def test_on_bad_image_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "cache"))
    chosen = overrides("sop", WRITERS["sop"](tmp_path / "sop"))
    for path in paths(StanfordOnlineProducts(str(tmp_path / "sop")).train())[::6]:
        (tmp_path / "sop" / path).write_bytes(b"not a picture")
    with pytest.raises(BadImage, match="is not an image"):
        Training(compose(chosen)).epoch()
    training = Training(compose([*chosen, "dataset.on_bad_image=skip"]))
    assert sum(training.splits.values()) == CLASSES * (IMAGES_A_CLASS - 1)
    assert training.epoch().metrics["test/num_queries"] == CLASSES * IMAGES_A_CLASS


def test_the_command_tells_what_is_there_and_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "cache"))
    chosen = [*overrides("inshop", WRITERS["inshop"](tmp_path / "set")), f"experience.log_dir={tmp_path / 'logs'}"]
    (tmp_path / "set" / "img/WOMEN/Dresses/id_00000000/00_1_front.jpg").unlink()
    assert main(chosen) == 2
    said = capsys.readouterr().err
    assert "is missing (1 of 96 images of inshop are)" in said and said.count("\n") == 1
    assert main([*chosen, "dataset.on_bad_image=skip"]) == 0
    said = capsys.readouterr().err
    assert "48 train images of 8 classes (of 25,882 images of 3,997 classes)" in said
    assert "left out of the train images: 1 that cannot be decoded" in said and "test/recall_at_1" in said


def test_sizes_that_stay_unequal_are_refused_before_a_file_is_touched(tmp_path: Path) -> None:
    resized = "{Resize: {size: 32}, ToTensor: null}"
    for part in ("train", "test"):
        with pytest.raises(
            UserError, match=rf"transform\.{part} leaves the sizes of sop unequal: end it with CenterCrop"
        ):
            compose([*overrides("sop", tmp_path / "nowhere"), f"transform.{part}={resized}"])
    compose(["dataset=emoji", f"transform.test={resized}"])
    transform = build_transform({"Resize": {"size": 32}, "ToTensor": None})
    with pytest.raises(UserError, match="transform leaves images of 32 x 32 and 64 x 32 in one batch"):
        transform([torch.zeros(3, 50, 50, dtype=torch.uint8), torch.zeros(3, 50, 100, dtype=torch.uint8)])


def test_the_default_transform_takes_pictures_of_any_size(tmp_path: Path) -> None:
    chosen = ["dataset=folder", f"dataset.kwargs.data_dir={WRITERS['folder'](tmp_path)}", "experience.max_iter=1"]
    small = ["dataset.sampler.kwargs.batch_size=16", "experience.num_workers=0", "experience.num_threads=1"]
    assert "test/map_at_r" in Training(compose([*chosen, *small])).epoch().metrics


def test_the_floor_of_raw_pixels_takes_pictures_of_any_size(tmp_path: Path, tiny_emoji: Path) -> None:
    images = StanfordOnlineProducts(str(WRITERS["sop"](tmp_path))).train()
    pixels = same_size(images)
    assert pixels.shape == (48, 32, 32, 3) and pixels.dtype.name == "uint8"
    assert isinstance(images.source, FileImages)
    whole = images.source[0].float().mean((1, 2))
    assert torch.allclose(torch.from_numpy(pixels[0]).float().mean((0, 1)), whole, atol=2.0)
    assert pixel_embeddings(pixels).shape == (48, 768)
