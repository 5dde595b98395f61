"""The journal: what is written is read back, whoever dies in between."""

import errno
import math
import os
from pathlib import Path

import pytest

from trainables import patience
from trainables.errors import UserError
from tuner.events import events
from tuner.journal import FILE, Journal, running


def written(folder: Path) -> Journal:
    journal = Journal(folder)
    journal.open()
    journal.write("sweep", trials=2, launch="x")
    journal.write("point", trial=0, point={"a": 0.1})
    journal.write("report", trial=0, epoch=1, metrics={"val/m": 0.3})
    journal.write("report", trial=0, epoch=2, metrics={"val/m": 0.5})
    journal.write("checkpoint", trial=0, epoch=2, path="c/2")
    journal.write("report", trial=0, epoch=3, metrics={"val/m": math.nan})
    return journal


def test_read_is_what_was_written(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.write("end", trial=0, state="finished", reason="")
    journal.write("point", trial=1, point={"a": 0.2})
    journal.close()
    read = Journal.read(tmp_path)
    assert read.header["launch"] == "x"
    assert read.trials[0].point == {"a": 0.1} and read.trials[0].state == "finished"
    assert read.trials[0].best("val/m", "max") == (2, 0.5) and read.trials[0].best("val/m", "min") == (1, 0.3)
    assert read.trials[0].checkpoints == {2: str(tmp_path / "c" / "2")}
    assert read.trials[1].state == "pending" and read.trials[1].best("val/m", "max") is None
    assert not read.complete


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.close()
    with (tmp_path / FILE).open("a") as file:
        file.write('{"event": "end", "tri')
    assert Journal.read(tmp_path).trials[0].state == "running"
    again = Journal(tmp_path)
    again.open()
    again.write("end", trial=0, state="stopped", reason="asha")
    again.close()
    assert Journal.read(tmp_path).trials[0].reason == "asha"


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    assert not running(tmp_path)
    journal = written(tmp_path)
    assert running(tmp_path)
    with pytest.raises(UserError, match="is running"):
        Journal(tmp_path).open()
    journal.close()
    assert not running(tmp_path)


def test_complete_when_every_planned_trial_has_ended(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.write("end", trial=0, state="finished", reason="")
    journal.write("point", trial=1, point={})
    assert not journal.complete
    journal.write("end", trial=1, state="infeasible", reason="diverged")
    assert journal.complete
    journal.close()


def test_a_full_disk_delays_an_event_and_tears_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j")
    journal.open()
    journal.write("sweep", launch="x", trials=2, epochs=3)
    told: list[OSError | None] = []
    journal.told = told.append
    write, room = os.write, [3, 0, 0]  # bytes that the disk takes before it is full, try after try

    def half(descriptor: int, content: bytes) -> int:
        if not room:
            return write(descriptor, content)
        if room[0] == 0:
            room.pop(0)
            raise OSError(errno.ENOSPC, "No space left on device")
        taken, room[0] = write(descriptor, content[: room[0]]), 0
        return taken

    monkeypatch.setattr(os, "write", half)
    monkeypatch.setattr(patience, "SECONDS_BETWEEN", 0.001)
    journal.write("point", trial=0, point={"a": 1})
    journal.close()
    assert [error is None for error in told] == [False, False, False, True]
    assert [event["event"] for event in events(tmp_path / "j" / FILE)] == ["sweep", "point"]
