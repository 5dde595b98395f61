"""What nodes leave and say before anything that trains is loaded there."""

import subprocess
import sys
from pathlib import Path

import pytest

from tuner import signs


def test_signs_are_handed_on_sparingly(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(signs.time, "monotonic", lambda: clock[0])
    heard = signs.Signs()
    handed: list[signs.Sign] = []
    say = signs.Sparing(lambda sign: (handed.append(sign), heard.say("a", sign)))
    for done in range(1, 41):  # five seconds
        say("cache images", done, 40)
        clock[0] += 0.125
    assert [done for _, done, _ in handed] == [1, 9, 17, 25, 33, 40]
    say("decode train images", 1, 40)
    say("decode train images", 2, 40)
    heard.say("b", ("render emoji", 3, 9))
    assert heard.said() == {"a": ("decode train images", 1, 40), "b": ("render emoji", 3, 9)}


def test_a_mark_is_a_file_or_the_reason_why_not(tmp_path: Path) -> None:
    told = signs.leave_mark(str(tmp_path))
    assert told["error"] == "" and (tmp_path / told["name"]).is_file()
    (tmp_path / "file").touch()
    assert signs.leave_mark(str(tmp_path / "file"))["error"] == "Not a directory"


def test_nodes_load_nothing_that_trains_for_it() -> None:
    """Seconds of every node's start, and of a head that trains nothing."""
    look = "import sys, tuner.signs; print({'torch', 'ray', 'mlflow', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
