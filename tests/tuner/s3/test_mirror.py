"""A sweep in S3 without Ray: what goes there, who may drive it, what other machines see."""

import os
import platform
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tuner.s3.conftest import keys
from trainables import bucket
from trainables.errors import UserError
from tuner import copies, lease, mirror, places, requests, session
from tuner.journal import FILE, Journal
from tuner.mirror import Mirror
from tuner.places import ROOT
from tuner.standing import Standing, existing, located
from tuner.sweep import Sweep


def begun(sweep: Sweep) -> Journal:
    journal = Journal(sweep.folder)
    journal.open()
    journal.write("sweep", launch="x", trials=6, epochs=4, sweep=sweep.model_dump(mode="json"))
    launched(journal)
    journal.write("point", trial=0, point={})
    return journal


def launched(journal: Journal) -> None:
    journal.write("launch", host=platform.node(), pid=os.getpid())


def sent(sweep: Sweep, say: Callable[[str], None] = print) -> Mirror:
    found = Mirror(sweep.folder, say)
    found.open()
    found.send(lambda error: None)
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def test_the_journal_goes_there_in_parts_and_comes_back(
    stored: Sweep, on: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PART", 1000)
    journal = begun(stored)
    (stored.folder / "results.csv").write_text("trial\n0\n")
    kept = sent(stored)
    for epoch in range(1, 40):
        journal.write("report", trial=0, epoch=epoch, metrics={"val/map_at_r": epoch / 100})
        if epoch % 5 == 0:
            kept.send(lambda error: None)
    kept.close()
    journal.close()
    home = places.home(stored.folder)
    parts = [key for key in keys(home) if FILE in key]
    assert len(parts) > 3 and [key for key in keys(home) if key not in parts] == ["desk/results.csv"]
    written = (stored.folder / FILE).read_bytes()
    assert b"".join(bucket.read(bucket.below(home, key)) or b"" for key in parts) == written
    sizes = [len(bucket.read(bucket.below(home, key)) or b"") for key in parts]
    assert all(1000 <= size < 2500 for size in sizes[:-1])

    on("laptop")
    assert not stored.folder.exists()
    assert existing(stored).journal.trials[0].reports[39] == {"val/map_at_r": 0.39}
    assert (stored.folder / FILE).read_bytes() == written
    assert (stored.folder / "results.csv").read_text() == "trial\n0\n"
    assert located(home, []).folder == stored.folder
    assert located(str(stored.folder), []).storage == stored.storage


def test_nothing_is_read_or_written_twice(stored: Sweep, on: Callable[[str], None]) -> None:
    journal = begun(stored)
    kept = sent(stored)
    kept.close()
    journal.close()
    on("laptop")
    existing(stored)
    before = (stored.folder / FILE).stat().st_ino
    on("head")
    journal.open()
    kept = sent(stored)
    journal.write("point", trial=1, point={"a": 1.5})
    kept.close()
    journal.close()
    on("laptop")
    assert existing(stored).journal.trials[1].point == {"a": 1.5}
    assert (stored.folder / FILE).stat().st_ino == before


def test_one_driver_at_a_time(stored: Sweep, on: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(stored)
    kept = sent(stored)
    on("laptop")
    standing = existing(stored)
    assert standing.running and f"running on head (pid {os.getpid()})" in standing.words()
    for how in ({"resume": True, "fresh": False}, {"resume": False, "fresh": True}, {"resume": False, "fresh": False}):
        with pytest.raises(UserError, match=r"'small' is running on head"):
            session.check_folder(stored, **how)
    with pytest.raises(UserError, match=r"'small' is running on head"):
        sent(stored)

    monkeypatch.setattr(lease, "SILENT_S", 0.0)  # nothing is heard of the first one
    said: list[str] = []
    lost = threading.Event()
    kept.lost = lost.set
    monkeypatch.setattr(kept, "_say", said.append)
    other = sent(stored)
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_SIGNS", 0.0)
    assert lost.wait(10)
    assert "laptop" in said[0] and "this driver ends" in said[0]
    kept.close()
    assert lease.holder(mirror.desk(stored.folder)) is not None, "it is the other's"
    other.close()
    assert lease.holder(mirror.desk(stored.folder)) is None
    journal.close()


def test_another_account_of_the_drivers_machine_sees_it(
    stored: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journal = begun(stored)
    kept = sent(stored)
    monkeypatch.setenv(ROOT, str(tmp_path / "another"))
    assert existing(stored).running
    kept.close()
    gone = existing(stored)
    assert not gone.running and re.search(
        r"nothing was heard of its driver on head \(pid \d+\) for \d+ s", gone.words()
    )
    journal.close()


def test_a_driver_that_was_killed_here_is_followed_at_once(stored: Sweep) -> None:
    journal = begun(stored)
    kept = sent(stored)
    kept._end.set()
    kept._thread.join()
    journal.close()
    place = bucket.below(mirror.desk(stored.folder), lease.FILE)
    bucket.write(place, b'{"token": "x", "host": "head", "pid": 99999999}')
    standing = existing(stored)
    assert not standing.running
    sent(stored).close()


def test_copies_that_have_parted_are_left_alone(stored: Sweep, on: Callable[[str], None]) -> None:
    journal = begun(stored)
    sent(stored).close()
    on("laptop")
    existing(stored)
    on("head")
    journal.write("point", trial=1, point={"a": 1})
    sent(stored).close()
    journal.close()
    on("laptop")
    other = Journal(stored.folder)
    other.open()
    with pytest.raises(UserError, match="has gone on meanwhile"):
        sent(stored)
    other.write("point", trial=1, point={"a": 2})
    other.close()
    here, there = (stored.folder / FILE).read_bytes(), keys(places.home(stored.folder))
    with pytest.raises(UserError, match=r"have gone apart: two drivers .* mv /") as caught:
        existing(stored)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="have gone apart"):
        session.check_folder(stored, resume=True, fresh=False)
    assert (stored.folder / FILE).read_bytes() == here and keys(places.home(stored.folder)) == there
    stored.folder.rename(stored.folder.with_name("small.aside"))
    assert existing(stored).journal.trials[1].point == {"a": 1}


def test_what_a_lost_head_had_not_sent_is_sent_when_it_is_back(stored: Sweep, on: Callable[[str], None]) -> None:
    journal = begun(stored)
    sent(stored).close()
    journal.write("point", trial=1, point={"a": 1})
    journal.write("left", state="interrupted", reason="")
    journal.close()
    assert existing(stored).journal.trials[1].point == {"a": 1}
    on("laptop")
    assert existing(stored).journal.trials[1].point == {"a": 1}


def test_s3_that_is_away_is_waited_for(stored: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, said = begun(stored), []
    kept = sent(stored, said.append)
    write = bucket.write

    def away(place: str, content: bytes) -> None:
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation")

    monkeypatch.setattr(bucket, "write", away)
    journal.write("point", trial=1, point={"a": 1})
    wait_for(lambda: bool(said))
    time.sleep(0.2)
    assert len(said) == 1 and "it cannot be reached; it is copied later, nothing is lost" in said[0]
    monkeypatch.setattr(bucket, "write", write)
    wait_for(lambda: len(said) == 2)
    assert "takes copies again" in said[1]
    monkeypatch.setattr(mirror, "SECONDS_FOR_THE_REST", 0.0)
    monkeypatch.setattr(bucket, "write", away)
    journal.write("point", trial=2, point={})
    kept.close()
    assert "`roadmap-tune status` on this machine copies it" in said[-1]
    journal.close()
    monkeypatch.setattr(bucket, "write", write)
    monkeypatch.setattr(lease, "SILENT_S", 0.0)  # the lease could not be given back
    assert 2 in existing(stored).journal.trials
    home = places.home(stored.folder)
    assert bucket.read(bucket.below(home, "desk", FILE, "0" * 15)) == (stored.folder / FILE).read_bytes()


def test_requests_come_through_the_bucket(stored: Sweep, on: Callable[[str], None]) -> None:
    journal = begun(stored)
    kept = sent(stored)
    folder = stored.folder
    on("laptop")
    existing(stored)
    asked = requests.ask(stored.folder, "stop", now=False)
    bucket.write(bucket.below(mirror.desk(stored.folder), "requests", "..%2Fx.json"), b"{}")
    wait_for(lambda: len(list((folder / requests.FOLDER).glob("*"))) == 1)
    [taken] = requests.take(folder)
    assert (taken.id, taken.kind, taken.values) == (asked, "stop", {"now": False})
    journal.write("answer", request=asked, text="ends")
    assert requests.answer(stored.folder, asked, 20) == "ends"
    kept.close()
    journal.close()


def test_a_fresh_start_gives_all_of_it_another_name(stored: Sweep, on: Callable[[str], None]) -> None:
    journal = begun(stored)
    kept = sent(stored)
    place = bucket.below(places.home(stored.folder), "launch-1", "trial-0000-0", "checkpoint_000000")
    bucket.write(bucket.below(place, "training.ckpt"), b"weights")
    journal.write("checkpoint", trial=0, epoch=1, path="launch-1/trial-0000-0/checkpoint_000000")
    kept.close()
    journal.close()
    session.set_aside(stored.folder)
    assert keys(places.home(stored.folder)) == [] and Standing.found(stored.folder) is None
    [aside] = [path.name for path in stored.folder.parent.iterdir()]
    on("laptop")
    before = existing(stored.model_copy(update={"name": aside})).journal
    with bucket.local(before.trials[0].checkpoints[1]) as folder:
        assert (folder / "training.ckpt").read_bytes() == b"weights"
    assert not folder.exists()


def test_a_journal_names_nothing_outside_its_home(stored: Sweep) -> None:
    journal = begun(stored)
    with pytest.raises(UserError, match=r"names a checkpoint that is not in the sweep's folder"):
        journal.write("checkpoint", trial=0, epoch=1, path="../other/launch-1/trial-0000/checkpoint_1")
    journal.close()
    assert Path(journal.folder).is_dir()
