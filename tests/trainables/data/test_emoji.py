"""The emoji data set: built from miniature packages by a fake npm; and the real one, where it is."""

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from trainables.data import Emoji, emoji_build, emoji_packages
from trainables.data.emoji import FOLDER
from trainables.data.emoji_packages import Package
from trainables.data.emoji_rendering import near_copies, render
from trainables.data.emoji_selection import read_vendor, select
from trainables.errors import UserError

IMAGES, CLASSES = 7648, 1396  # of the real data set
VENDORS = ("noto", "noto-v1", "twemoji", "openmoji")
LABELS = ("cat", "dog", "red-apple", "car")
SHAPES = {
    "cat": "M1 1h6v6h-6z",
    "dog": "M8 1l7 14h-14z",
    "red-apple": "M8 2a6 6 0 1 0 .1 0z",
    "car": "M1 6h14v4h-14z",
}


def body(label: str, vendor: str) -> str:
    """Each vendor draws in its own colour, at its own size."""
    shade = 40 * VENDORS.index(vendor)
    return f'<path fill="rgb({shade},{200 - shade},90)" d="{SHAPES[label]}"/>'


def package_files(vendor: str) -> dict[str, object]:
    icons = {label: {"body": body(label, vendor)} for label in LABELS}
    icons["flag-somewhere"] = {"body": '<path d="M0 0h3v3z"/>'}
    icons["waving-hand-dark-skin-tone"] = {"body": '<path d="M0 0h4v3z"/>'}
    aliases = {"kitty": {"parent": "cat"}, "turned": {"parent": "car", "hFlip": True}}
    categories = {"Animals & Nature": ["cat", "dog"], "Food & Drink": ["red-apple"], "Travel & Places": ["car"]}
    categories["Flags"] = ["flag-somewhere"]
    return {
        "icons.json": {"width": 16, "height": 16, "icons": icons, "aliases": aliases},
        "metadata.json": {"categories": categories},
        "chars.json": {"1f408": "cat", "1f415": "dog"},
        "info.json": {"name": vendor, "author": {"name": "A"}, "license": {"title": "L", "spdx": "MIT"}},
    }


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Package, ...]:
    """Tarballs, and an npm on the PATH that `pack`s them and counts its calls."""
    shelf, tools = tmp_path / "shelf", tmp_path / "bin"
    shelf.mkdir()
    tools.mkdir()
    made = []
    for vendor in VENDORS:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, content in package_files(vendor).items():
                data = json.dumps(content).encode()
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        package = Package(vendor, "1.0.0", hashlib.sha256(buffer.getvalue()).hexdigest())
        (shelf / package.tarball).write_bytes(buffer.getvalue())
        made.append(package)
    npm = tools / "npm"
    npm.write_text(
        f"#!{sys.executable}\nimport shutil, sys\n"
        f"open({str(tmp_path / 'calls')!r}, 'a').write(sys.argv[2] + '\\n')\n"
        "name = sys.argv[2].removeprefix('@iconify-json/').replace('@', '-')\n"
        "name = f'iconify-json-{name}.tgz'\n"
        f"shutil.copy({str(shelf)!r} + '/' + name, name)\n"
    )
    npm.chmod(npm.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return tuple(made)


def test_build(packages: tuple[Package, ...], tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    target = tmp_path / "data" / FOLDER
    emoji_build.build(target, lambda *step: told.append(step), packages)
    images = np.load(target / "images.npy")
    meta = json.loads((target / "meta.json").read_text())
    assert images.shape == (16, 64, 64, 3) and meta["classes"] == 4 and meta["images"] == 16
    assert meta["sha256"] == hashlib.sha256((target / "images.npy").read_bytes()).hexdigest()
    assert sum(1 for _ in target.glob("*/*.png")) == 16
    assert "MIT" in (target / "SOURCES.txt").read_text()
    assert {path.name for path in target.parent.iterdir()} == {FOLDER, f".{FOLDER}.lock"}
    assert told[-1][1] == told[-1][2]
    train, test = Emoji(str(tmp_path / "data")).train(), Emoji(str(tmp_path / "data")).test()[0].query
    assert len(train) + len(test) == 16 and not set(train.labels) & set(test.labels)
    assert set(train.class_names) == set(LABELS)
    assert train.super_names == ("Animals & Nature", "Food & Drink", "Travel & Places")


def test_an_interrupted_build_goes_on_where_it_was(
    packages: tuple[Package, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "data" / FOLDER

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(emoji_build, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            emoji_build.build(target, lambda *step: None, packages)
    assert not target.exists()
    with monkeypatch.context() as patch:
        patch.setattr(emoji_build, "render", killed)
        emoji_build.build(target, lambda *step: None, packages)
    assert target.exists() and len((tmp_path / "calls").read_text().splitlines()) == len(packages)


def test_a_second_builder_waits_and_finds_it_built(packages: tuple[Package, ...], tmp_path: Path) -> None:
    target = tmp_path / "data" / FOLDER
    emoji_build.build(target, lambda *step: None, packages)
    stamp = (target / "meta.json").stat().st_mtime_ns
    time.sleep(0.01)
    emoji_build.build(target, lambda *step: None, packages)
    assert (target / "meta.json").stat().st_mtime_ns == stamp


def test_a_changed_download_is_refused(packages: tuple[Package, ...], tmp_path: Path) -> None:
    wrong = Package(packages[0].vendor, packages[0].version, "0" * 64)
    with pytest.raises(UserError, match="sha256"):
        emoji_build.build(tmp_path / "data" / FOLDER, lambda *step: None, (wrong,))
    assert not (tmp_path / "data" / FOLDER).exists()


def test_npm_failing_is_one_line(packages: tuple[Package, ...], tmp_path: Path) -> None:
    (tmp_path / "bin" / "npm").write_text(
        "#!/bin/sh\necho 'npm error code ETARGET\nnpm error No matching version' >&2\nexit 1\n"
    )
    with pytest.raises(UserError, match="No matching version") as caught:
        emoji_build.build(tmp_path / "data" / FOLDER, lambda *step: None, packages)
    assert "\n" not in str(caught.value)


def test_without_npm_nothing_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emoji_packages.shutil, "which", lambda name: None)
    monkeypatch.setattr(emoji_packages.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(emoji_packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="no npm here"):
        Emoji(str(tmp_path / "data")).ensure()
    assert not (tmp_path / "data").exists()


def test_selection(packages: tuple[Package, ...], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    vendors = {package.vendor: read_vendor(package.vendor, emoji_packages.fetch(package, work)) for package in packages}
    drawings = select(vendors)
    assert {drawing.label for drawing in drawings} == set(LABELS)
    assert Counter(drawing.vendor for drawing in drawings) == dict.fromkeys(VENDORS, 4)
    assert vendors["noto"].bodies["kitty"] == vendors["noto"].bodies["cat"]
    assert "turned" not in vendors["noto"].bodies


def test_rendering() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><path d="M4 4h2v1h-2z"/></svg>'
    picture = render(svg)
    assert picture is not None and picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    dark = np.argwhere(picture.mean(-1) < 128)
    height, width = np.ptp(dark, axis=0) + 1
    assert abs(width - 59) <= 2 and abs(height - 29.5) <= 2  # cropped, twice as wide as high, 4 % margin
    assert np.allclose(dark.mean(0), 31.5, atol=1)
    assert render('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"></svg>') is None


def test_near_copies() -> None:
    flat = np.full((4, 4, 3), 100, dtype=np.uint8)
    assert near_copies([flat, flat + 2, flat + 4, flat + 5]) == [False, True, False, True]


def test_a_folder_that_is_not_whole_is_left_alone(packages: tuple[Package, ...], tmp_path: Path) -> None:
    target = tmp_path / "data" / FOLDER
    target.mkdir(parents=True)
    (target / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="move it away"):
        Emoji(str(tmp_path / "data")).ensure()
    assert (target / "mine.txt").read_text() == "precious" and len(list((tmp_path / "data").iterdir())) == 1


def test_a_truncated_array_is_one_line(packages: tuple[Package, ...], tmp_path: Path) -> None:
    target = tmp_path / "data" / FOLDER
    emoji_build.build(target, lambda *step: None, packages)
    array = target / "images.npy"
    array.write_bytes(array.read_bytes()[:-1000])
    with pytest.raises(UserError, match="move it away"):
        Emoji(str(tmp_path / "data")).train()


def test_missing_files_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="roadmap-tune data build emoji"):
        Emoji(str(tmp_path)).train()


@pytest.mark.slow
def test_the_real_data_set() -> None:
    """Built where it is not there yet: needs npm, its registry and a minute."""
    emoji = Emoji()
    emoji.ensure()
    train, test = emoji.train(), emoji.test()[0].query
    assert (len(train) + len(test), len(train.class_names)) == (IMAGES, CLASSES)
    assert set(train.super_labels.tolist()) == set(range(8))  # type: ignore[union-attr]
    assert min(Counter(train.labels.tolist()).values()) >= 4
    pixels = train.source[0]
    assert pixels.shape == (3, 64, 64)
    subprocess.run([sys.executable, "-m", "tuner", "data", "build", "emoji"], check=True, capture_output=True)
