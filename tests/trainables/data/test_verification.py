"""Bad images: found by decoding, left out and counted where the user says so, an error where not."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.data.miniatures import write_csv, write_inshop, write_sop
from tests.trainables.data.test_on_disk import paths
from trainables.data import (
    BadImage,
    Emoji,
    FileImages,
    ImageTable,
    InShop,
    RetrievalDataset,
    RetrievalSplit,
    Skipping,
    StanfordOnlineProducts,
    bad_images,
    files,
    summary,
)
from trainables.errors import UserError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def sop(tmp_path: Path) -> Path:
    """A miniature with three bad train images and one bad test image."""
    folder = write_sop(tmp_path / "sop")
    train = paths(StanfordOnlineProducts(str(folder)).train())
    (folder / train[0]).unlink()
    (folder / train[1]).write_bytes(b"")
    (folder / train[20]).write_bytes((folder / train[20]).read_bytes()[:700])
    (folder / paths(StanfordOnlineProducts(str(folder)).test()[0].query)[5]).write_text("<html>")
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded from here on."""
    seen: list[Path] = []
    decode = files.read_image

    def read(path: Path) -> object:
        seen.append(path)
        return decode(path)

    monkeypatch.setattr(files, "read_image", read)
    return seen


def test_bad_images_are_found_where_they_are(sop: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = bad_images(StanfordOnlineProducts(str(sop)).train(), lambda *step: told.append(step), "look")
    assert {position: error.problem for position, error in found.items() if isinstance(error, BadImage)} == {
        0: "is missing",
        1: "is empty",
        20: "cannot be decoded",
    }
    assert told[-1] == ("look", 48, 48)


def test_skipping_leaves_bad_images_out_and_counts_them(sop: Path) -> None:
    whole, dataset = StanfordOnlineProducts(str(sop)), Skipping(StanfordOnlineProducts(str(sop)))
    told: list[str] = []
    dataset.ensure(lambda what, done, total: told.append(what))
    assert set(told) == {"decode train images", "decode test images"}
    assert paths(dataset.train()) == [path for at, path in enumerate(paths(whole.train())) if at not in (0, 1, 20)]
    assert len(dataset.test()[0].query) == 47
    assert np.array_equal(dataset.train().labels, np.delete(whole.train().labels, [0, 1, 20]))
    left_out = (
        f"left out of the train images: 3 that cannot be decoded, such as {sop / paths(whole.train())[0]} (is missing)"
    )
    assert summary(dataset)[:2] == summary(whole) and summary(dataset)[2] == left_out and len(summary(dataset)) == 4
    assert dataset.fingerprint == whole.fingerprint and dataset.folder == whole.folder


def test_every_good_file_is_decoded_once_for_all_trainings(sop: Path, reads: list[Path], own_cache: Path) -> None:
    Skipping(StanfordOnlineProducts(str(sop))).ensure()
    assert len(reads) == 96
    reads.clear()
    Skipping(StanfordOnlineProducts(str(sop))).ensure()
    bad = {path.name for path in reads}
    assert len(reads) == len(bad) == 4  # the bad ones are tried again
    good = sop / paths(StanfordOnlineProducts(str(sop)).train())[2]
    os.utime(good, ns=(1, 1))
    reads.clear()
    Skipping(StanfordOnlineProducts(str(sop))).train()
    assert good in reads and len(reads) == 4
    (cache,) = own_cache.iterdir()
    cache.write_text(cache.read_text() + '["torn')
    assert len(Skipping(StanfordOnlineProducts(str(sop))).train()) == 45


def test_an_image_that_was_repaired_is_back(sop: Path) -> None:
    assert len(Skipping(StanfordOnlineProducts(str(sop))).train()) == 45
    train = StanfordOnlineProducts(str(sop)).train()
    (sop / paths(train)[1]).write_bytes((sop / paths(train)[2]).read_bytes())
    assert len(Skipping(StanfordOnlineProducts(str(sop))).train()) == 46


def test_a_cache_that_cannot_be_written_costs_time_only(
    sop: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_cache.parent.mkdir(exist_ok=True)
    own_cache.write_text("a file where the folder should be")
    assert len(Skipping(StanfordOnlineProducts(str(sop))).train()) == 45
    assert "will be decoded again next time" in caplog.text


def test_queries_and_gallery_are_both_looked_at(tmp_path: Path) -> None:
    folder = write_inshop(tmp_path / "inshop")
    (split,) = InShop(str(folder)).test()
    assert split.gallery is not None
    (folder / paths(split.query)[0]).unlink()
    (folder / paths(split.gallery)[3]).write_text("x")
    (kept,) = Skipping(InShop(str(folder))).test()
    assert kept.gallery is not None and (len(kept.query), len(kept.gallery)) == (23, 23)


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "csv")
    for path in paths(ImageTable(str(folder)).train()):
        (folder / path).write_text("x")
    with pytest.raises(UserError, match=r"no train image is left: .* is not an image"):
        Skipping(ImageTable(str(folder))).ensure()


def test_pictures_in_memory_need_no_look(tiny_emoji: Path) -> None:
    dataset = Skipping(Emoji(str(tiny_emoji)))
    dataset.ensure()
    assert len(dataset.train()) == len(Emoji(str(tiny_emoji)).train())
    assert len(summary(dataset)) == 2


def test_a_split_with_a_ground_truth_keeps_every_image(sop: Path) -> None:
    """Its answers are positions: without one image they would mean others."""
    dataset: RetrievalDataset = StanfordOnlineProducts(str(sop))
    split = dataset.test()[0]
    object.__setattr__(split, "ground_truth", "positions")
    kept = Skipping(dataset)._split(split)
    assert isinstance(kept, RetrievalSplit) and len(kept.query) == 48


def test_every_data_set_is_the_protocol() -> None:
    asks: list[Callable[..., RetrievalDataset]] = [StanfordOnlineProducts, InShop, ImageTable, Emoji]
    assert all({"folder", "ensure", "train", "test"} <= set(dir(ask())) for ask in asks)
    assert FileImages.in_memory is False
