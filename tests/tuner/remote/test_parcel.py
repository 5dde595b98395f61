"""What a cluster is sent: both packages and the sweep file, nothing else of this machine."""

from pathlib import Path

import pytest

import trainables
from tuner.remote.parcel import packed


def test_packages_and_the_files_that_the_words_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.yaml").write_text("name: a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "image.png").write_bytes(b"0")
    outside = tmp_path / "outside.yaml"
    outside.write_text("name: outside")
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    words = ["run", "mine/a.yaml", "--set", "storage=/x", "runs/gone.yaml", "data"]
    with packed(words) as (folder, sent):
        assert sent == words
        assert sorted(path.name for path in folder.iterdir()) == ["mine", "trainables", "tuner"]
        assert (folder / "mine" / "a.yaml").read_text() == "name: a"
        assert [path.name for path in (folder / "mine").iterdir()] == ["a.yaml"]
        assert (folder / "trainables" / "config").is_dir() and (folder / "tuner" / "__main__.py").is_file()
        assert not [path for path in folder.rglob("*") if path.name == "__pycache__"]
        source = Path(str(trainables.__file__))
        assert (folder / "trainables" / "__init__.py").read_bytes() == source.read_bytes()
    assert not folder.exists()
    monkeypatch.chdir(tmp_path / "mine")
    with packed(["status", str(outside)]) as (folder, sent):  # it keeps its name where its place is not below ours
        assert sent == ["status", "outside.yaml"] and (folder / "outside.yaml").is_file()
