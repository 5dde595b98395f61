"""`roadmap-tune data`: what it prints, and its exit codes."""

from pathlib import Path

import pytest
import torch

from tests.trainables.data.miniatures import WRITERS
from trainables.data import Emoji, read_image
from trainables.registry import DATASETS
from tuner.__main__ import main


@pytest.mark.parametrize("name", WRITERS)
def test_info_counts_every_set(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = WRITERS[name](tmp_path / name)
    assert main(["data", "info", name, "--root", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{name} in {folder}\n") and "48 train images of 8 classes" in said
    train = next(line for line in said.splitlines() if line.startswith("train")).split()
    assert (
        train[1:3] == ["48", "8"] and train[3] == ("-" if name == "folder" else "2") and "6 / 6 / 6" in " ".join(train)
    )
    assert "in 96 files" in said and f"fingerprint {DATASETS[name](str(folder)).fingerprint}" in said
    assert ("test gallery" in said) == (name in ("inshop", "csv"))


def test_info_of_pictures_in_memory(tiny_emoji: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", "emoji", "--root", str(tiny_emoji)]) == 0
    said = capsys.readouterr().out
    assert "120 train images of 24 classes" in said and "fingerprint made-by-tests" in said and "MB in 3 files" in said


def test_unpack_writes_the_pixels_that_it_has(
    tiny_emoji: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "unpack", "emoji", "--root", str(tiny_emoji), "--out", str(tmp_path / "out")]
    assert main(words) == 0 and f"240 pictures: {tmp_path}/out\n" in capsys.readouterr().out
    train = Emoji(str(tiny_emoji)).train()
    name = train.class_names[train.labels[0]]
    first = read_image(tmp_path / "out" / "train" / name / "1.png")
    assert torch.equal(first, train.source[int(train.rows[0])])
    assert len(list((tmp_path / "out" / "test").glob("*/*.png"))) == 120
    assert main(words) == 2 and "is there and is not empty" in capsys.readouterr().err
    folder = WRITERS["folder"](tmp_path / "folder")
    assert main(["data", "unpack", "folder", "--root", str(folder), "--out", str(tmp_path / "x")]) == 2
    assert "are files already" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_check_of_a_whole_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = WRITERS["csv"](tmp_path)
    (folder / "images.csv").rename(folder / "other.csv")
    assert main(["data", "check", "csv", "--root", str(folder), "--set", "file=other.csv"]) == 0
    assert capsys.readouterr().out.endswith("all 96 images decode\n")


def test_check_sums_up_by_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = WRITERS["inshop"](tmp_path)
    pictures = sorted(folder.glob("img/**/*.jpg"))
    for path in pictures[:7]:
        path.write_bytes(b"")
    pictures[50].unlink()
    pictures[60].write_bytes(pictures[60].read_bytes()[:800])
    assert main(["data", "check", "inshop", "--root", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "7 of 96 images: is empty" in said
    assert f"  {pictures[0]}\n" in said and "  and 2 more" in said
    assert f"1 of 96 images: is missing\n  {pictures[50]}\n" in said
    assert f"1 of 96 images: cannot be decoded\n  {pictures[60]} (image file is truncated" in said


def test_check_of_nothing_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "sop", "--root", str(tmp_path)]) == 1
    assert f"sop: {tmp_path / 'Ebay_train.txt'} is missing: get Stanford Online Products" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "spo"], "unknown dataset 'spo', did you mean 'sop'"),
        (["info", "csv", "--set", "fiel=a"], "did you mean 'file'"),
        (["info", "csv", "--set", "file"], "KEY=VALUE"),
        (["build", "sop"], "sop cannot be built here: get Stanford Online Products from"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
