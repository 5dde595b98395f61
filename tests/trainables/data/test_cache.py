"""The cache of pictures: what equals the files' own path, when it is built anew, and what is never used."""

import json
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.trainables.data.miniatures import WRITERS, picture
from tests.trainables.data.test_training_on_files import overrides
from trainables import Training, compose
from trainables.building import build_dataset
from trainables.data import BadImage, Cached, FileImages, build_transform, cache_build, eval_batches, summary
from trainables.data.cached_images import INDEX, META, PIXELS, CachedImages, CacheUnusable
from trainables.errors import UserError


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides of a training on a cached miniature of SOP; the cache is below tmp_path/root."""
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "root"))
    return [*overrides("sop", WRITERS["sop"](tmp_path / "sop")), "dataset.cache=memmap"]


def built(chosen: list[str], times: list[int] | None = None) -> CachedImages:
    dataset = build_dataset(compose(chosen))
    dataset.ensure(None if times is None else lambda what, done, total: times.append(done))
    source = dataset.train().source
    assert isinstance(source, CachedImages)
    return source


def caches(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "root" / "cache").iterdir() if path.is_dir())


@pytest.mark.parametrize("name", WRITERS)
def test_the_test_transform_sees_the_same_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "root"))
    chosen = overrides(name, WRITERS[name](tmp_path / "set"))
    transform = build_transform(compose(chosen).transform.test)
    direct, cached = (build_dataset(compose([*chosen, f"dataset.cache={way}"])) for way in ("null", "memmap"))
    for one, other in zip(direct.test(), cached.test(), strict=True):
        for sets in ((one.query, other.query), (one.gallery, other.gallery)):
            if sets[0] is not None and sets[1] is not None:
                batches = [list(eval_batches(images, transform, 8)) for images in sets]
                for files, mapped in zip(*batches, strict=True):
                    assert all(torch.equal(left, right) for left, right in zip(files, mapped, strict=True))


def test_a_recipe_that_resizes_before_it_crops_trains_alike(chosen: list[str]) -> None:
    resized = "transform.train={Resize: {size: 36}, RandomResizedCrop: {size: 32}, ToTensor: null}"
    reports = []
    for way in ("null", "memmap"):
        training = Training(compose([*chosen, resized, f"dataset.cache={way}"]))
        reports.append({key: value for key, value in training.epoch().metrics.items() if not key.startswith("time/")})
        training.close()
    assert reports[0] == reports[1]


def test_workers_read_the_same_cache(chosen: list[str]) -> None:
    images = build_dataset(compose(chosen)).train()
    transform = build_transform({"Resize": {"size": [32, 32]}, "ToTensor": None})
    alone, helped = (list(eval_batches(images, transform, 8, workers=workers)) for workers in (0, 2))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(alone, helped, strict=True))
    travelled = pickle.dumps(images.source)
    assert len(travelled) < 1000 and torch.equal(pickle.loads(travelled)[5], images.source[5])


def test_small_pictures_stay_as_they_are(chosen: list[str], tmp_path: Path) -> None:
    small = next((tmp_path / "sop").glob("*/*_0.JPG"))
    picture_of = FileImages(tmp_path / "sop", [str(small)])[0]
    large = built([*chosen, "transform.test.Resize.size=200"])
    assert any(torch.equal(large[row], picture_of) for row in range(len(large)))
    assert large[2].shape == (3, 44, 40) and built(chosen)[2].shape == (3, 39, 36)


def test_it_is_built_once_until_a_file_changes(chosen: list[str], tmp_path: Path) -> None:
    times: list[int] = []
    first = built(chosen, times)
    assert times[-1] == len(first) == 96 and len(times) == 96
    assert built(chosen, times).folder == first.folder and len(times) == 96
    file = next((tmp_path / "sop").glob("*/*_1.JPG"))
    size, changed = file.stat().st_size, file.stat().st_mtime_ns
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(changed, changed + 1_000_000))
    assert file.stat().st_size == size
    assert built(chosen, times).folder != first.folder and len(times) == 2 * 96
    assert len(caches(tmp_path)) == 2


def test_those_who_come_together_build_it_once(chosen: list[str], tmp_path: Path) -> None:
    seen: list[list[int]] = [[] for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda times: built(chosen, times).folder, seen))
    assert sorted(map(len, seen)) == [0, 0, 96]
    assert [folders[0]] * 3 == folders and caches(tmp_path) == [folders[0]]


def shortened(folder: Path) -> None:
    with (folder / PIXELS).open("r+b") as file:
        file.truncate(1000)


def altered(folder: Path) -> None:
    with (folder / PIXELS).open("r+b") as file:
        file.write(bytes(range(200)))


def misplaced(folder: Path) -> None:
    index = np.load(folder / INDEX)
    index["offset"][3] += 1
    np.save(folder / INDEX, index)


def emptied(folder: Path) -> None:
    (folder / PIXELS).write_bytes(b"")


def of_another_format(folder: Path) -> None:
    meta = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps({**meta, "format": 0}))


def without_meta(folder: Path) -> None:
    (folder / META).unlink()


@pytest.mark.parametrize("damage", [shortened, altered, misplaced, emptied, of_another_format, without_meta])
def test_a_damaged_cache_is_built_anew(chosen: list[str], damage: Callable[[Path], None]) -> None:
    source = built(chosen)
    pixels, folder = source[3].clone(), source.folder
    del source
    damage(folder)
    with pytest.raises(CacheUnusable):
        CachedImages(folder)
    assert torch.equal(built(chosen)[3], pixels)


def test_what_a_killed_builder_left_is_not_used(chosen: list[str], tmp_path: Path) -> None:
    folder = built(chosen).folder
    left = folder.with_name(f".{folder.name}.work")
    folder.rename(left)
    (left / META).write_text("{}")
    assert len(built(chosen)) == 96 and not left.exists()


def test_a_write_that_went_wrong_is_noticed(chosen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_build.os, "fsync", lambda file: os.pwrite(file, bytes(range(200)), 0))
    with pytest.raises(UserError, match="reads back otherwise than it was written"):
        built(chosen)
    assert caches(tmp_path) == []


def test_too_little_space_is_said_before_anything_is_built(
    chosen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = r"dataset\.cache=memmap needs about 0\.00 GB"
    monkeypatch.setenv("ROADMAP_TUNE_CACHE_GB", "0.00001")
    with pytest.raises(UserError, match=needed + ", ROADMAP_TUNE_CACHE_GB=0.00001 leaves 0.00 GB in "):
        built(chosen)
    monkeypatch.setenv("ROADMAP_TUNE_CACHE_GB", "much")
    with pytest.raises(UserError, match="ROADMAP_TUNE_CACHE_GB='much' is not a number of gigabytes"):
        built(chosen)
    monkeypatch.delenv("ROADMAP_TUNE_CACHE_GB")
    monkeypatch.setattr(cache_build.shutil, "disk_usage", lambda folder: SimpleNamespace(free=9))
    with pytest.raises(UserError, match=needed + r", 0\.00 GB are free in .*: dataset\.cache=null does without"):
        built(chosen)
    assert caches(tmp_path) == []


def test_the_estimate_is_near_what_is_written(chosen: list[str], tmp_path: Path) -> None:
    images = built(chosen)
    files = build_dataset(compose([*chosen, "dataset.cache=null"])).train().source
    assert isinstance(files, FileImages)
    assert cache_build._estimate(files, np.arange(len(files)), 36) == pytest.approx(images.size, rel=0.03)


def test_bad_images_end_the_build_or_are_left_out(chosen: list[str], tmp_path: Path) -> None:
    bad = sorted((tmp_path / "sop").glob("*/*_1.JPG"))[0]
    bad.write_bytes(b"not a picture")
    with pytest.raises(BadImage, match="is not an image"):
        built(chosen)
    assert caches(tmp_path) == []
    dataset = build_dataset(compose([*chosen, "dataset.on_bad_image=skip"]))
    dataset.ensure()
    assert isinstance(dataset, Cached) and len(dataset.train()) + len(dataset.test()[0].query) == 95
    assert any("left out" in line for line in summary(dataset))
    assert summary(dataset)[-1].startswith("cache: 95 images, shorter side at most 36, ")
    with pytest.raises(BadImage):
        built(chosen)
    picture(bad, 0, 0)
    assert len(built(chosen)) == 96


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["dataset.cache=ramdisk"], "dataset.cache='ramdisk'"),
        (["transform.test={CenterCrop: {size: 32}, ToTensor: null}"], "transform.test must begin with"),
        (["transform.test.Resize={size: 36, interpolation: bicubic}"], "transform.test asks for another Resize"),
    ],
)
def test_refusals(tmp_path: Path, changes: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        compose([*overrides("sop", tmp_path / "nowhere"), "dataset.cache=memmap", *changes])


def test_what_is_in_memory_or_has_landmarks_is_not_cached(tiny: list[str]) -> None:
    with pytest.raises(UserError, match="emoji cannot be cached, sop, cub, inaturalist, inshop, folder, csv can"):
        compose([*tiny, "dataset.cache=memmap"])
    with pytest.raises(UserError, match="sfm120k cannot be cached"):
        compose(["dataset=sfm120k", "transform=sfm120k", "experience=landmarks", "dataset.cache=memmap"])
