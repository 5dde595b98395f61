"""The journal: what is written is read back, whoever dies in between."""

import errno
import json
import math
import os
import random
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


def eventful(folder: Path) -> bytes:
    """A journal with every event that changes it, as bytes."""
    journal = Journal(folder)
    journal.open()
    journal.write("sweep", trials=3, epochs=3, launch="x")
    journal.write("launch", host="höst", pid=7, about={"code": "1"})
    journal.write("warm", trials=[{"trial": -1, "point": {"a": 1}, "reports": {"1": {"val/m": 0.1}}}])
    for number in range(3):
        journal.write("point", trial=number, point={"a": number}, note={"asked": number})
        journal.write("start", trial=number)
        journal.write("report", trial=number, epoch=1, metrics={"val/m": 0.1 * number}, host="h", gpu="g")
        journal.write("checkpoint", trial=number, epoch=1, path=f"c/{number}")
    journal.write("report", trial=0, epoch=2, metrics={"val/m": math.nan}, stop="asha")
    journal.write("end", trial=0, state="stopped", reason="asha \n rung 1")
    journal.write("pause", trial=1)
    journal.write("loss", trial=2, reason="")
    journal.write("wait", reason="free_gb")
    journal.write("left", state="stopped", reason="budget")
    journal.write("extend", trials=4, planned=4, hours=1.0, gpu_hours=0.0)
    journal.write("retry", trial=0)
    journal.write("launch", host="other", pid=8)
    journal.write("answer", request="r", text="yes")
    journal.write("exploit", trial=1, epoch=1, donor=2, point={"a": 3})
    journal.write("crowded", trial=2, reason="")
    journal.close()
    return (folder / FILE).read_bytes()


def obvious(folder: Path) -> Journal:
    """Every whole line again, from the first."""
    journal = Journal(folder)
    for line in (folder / FILE).read_bytes().split(b"\n")[:-1]:
        journal._follow(json.loads(line))
    return journal


def said(journal: Journal) -> dict[str, str]:
    """All that it knows; as text, since a value that is no number equals none."""
    return {name: repr(value) for name, value in vars(journal).items() if name not in ("_file", "_reader", "told")}


def test_read_as_it_grows_byte_by_byte_is_read_whole(tmp_path: Path) -> None:
    content = eventful(tmp_path)
    file = tmp_path / FILE
    file.write_bytes(b"")
    journal = Journal.read(tmp_path)
    for end in range(1, len(content) + 1):
        with file.open("ab") as grown:
            grown.write(content[end - 1 : end])
        assert journal.again() is journal
        assert said(journal) == said(obvious(tmp_path)), end


def test_read_up_to_any_byte_and_then_on_is_read_whole(tmp_path: Path) -> None:
    content = eventful(tmp_path)
    whole = said(obvious(tmp_path))
    file = tmp_path / FILE
    draw = random.Random(0)
    for first in range(len(content) + 1):
        file.write_bytes(content[:first])
        journal = Journal.read(tmp_path)
        with file.open("ab") as grown:
            grown.write(content[first : (middle := draw.randint(first, len(content)))])
        assert journal.again() is journal and said(journal) == said(obvious(tmp_path)), (first, middle)
        with file.open("ab") as grown:
            grown.write(content[middle:])
        assert said(journal.again()) == whole, (first, middle)


def test_a_journal_that_became_shorter_is_read_anew(tmp_path: Path) -> None:
    content = eventful(tmp_path)
    file = tmp_path / FILE
    for end in range(len(content)):
        file.write_bytes(content)
        journal = Journal.read(tmp_path)
        os.truncate(file, end)
        shorter = journal.again()
        assert shorter is not journal and said(shorter) == said(obvious(tmp_path)), end


def test_half_a_line_that_is_dropped_is_no_other_journal(tmp_path: Path) -> None:
    content = eventful(tmp_path)
    with (tmp_path / FILE).open("ab") as torn:
        torn.write(b'{"event": "end", "tri')
    journal = Journal.read(tmp_path)
    other = Journal(tmp_path)
    other.open()
    assert (tmp_path / FILE).read_bytes() == content
    other.write("end", trial=1, state="finished", reason="")
    other.close()
    assert journal.again() is journal and journal.trials[1].state == "finished"


@pytest.mark.parametrize("longer", [False, True])
def test_a_fresh_sweep_in_its_place_is_read_anew(tmp_path: Path, longer: bool) -> None:
    """Begun anew after a look, longer at the next than the old one was."""
    folder = tmp_path / "small"
    size = len(eventful(folder))
    journal = Journal.read(folder)
    folder.rename(tmp_path / "small.before")
    assert said(journal.again()) == said(Journal(folder))
    fresh = Journal(folder)
    fresh.open()
    fresh.write("sweep", trials=1, launch="y")
    while longer and (folder / FILE).stat().st_size <= size:
        fresh.write("point", trial=0, point={"a": 0.5})
    fresh.close()
    found = journal.again()
    assert found is not journal and found.header["launch"] == "y" and said(found) == said(obvious(folder))


def test_a_file_written_over_in_its_place_is_read_anew(tmp_path: Path) -> None:
    content = eventful(tmp_path)
    journal = Journal.read(tmp_path)
    (tmp_path / FILE).write_bytes(content.replace(b'"at": ', b'"at": 1') + content)
    found = journal.again()
    assert found is not journal and said(found) == said(obvious(tmp_path))
