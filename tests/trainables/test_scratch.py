"""Temporary folders: gone with their block, with their process, and never another's."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trainables import scratch

HOLDS = """
import sys
from trainables import scratch
with scratch.folder() as held:
    (held / "weights").write_bytes(b"0" * 1000)
    print(held, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def holding() -> "tuple[subprocess.Popen[str], Path]":
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_goes_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch.folder() as made:
        assert made.parent == tmp_path
        (made / "file").write_text("x")
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_one_of_a_killed_process_goes_when_the_next_is_made_and_a_running_ones_stays(tmp_path: Path) -> None:
    killed, left = holding()
    killed.kill()
    killed.wait()
    running, kept = holding()  # takes the one that is left
    try:
        assert not left.exists()
        with scratch.folder() as own:
            assert sorted(tmp_path.iterdir()) == sorted([kept, own]) and (kept / "weights").is_file()
        scratch.remove_stale()
        assert list(tmp_path.iterdir()) == [kept]
    finally:
        running.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (tmp_path / f"{scratch.PREFIX}x").symlink_to(precious)
    scratch.remove_stale()
    assert precious.is_dir()
