"""A sweep's events into a real `mlflow server` with a login, killed -9 in the middle of a write and started again."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tuner.server import NAME, PASSWORD, Server, contents
from trainables.errors import UserError
from tuner import store, writer
from tuner.board import Board
from tuner.desk import Desk
from tuner.journal import Journal
from tuner.plan import Plan, make_plan
from tuner.replay import replay
from tuner.results import Results
from tuner.sweep import Sweep
from tuner.tracking import Tracker, TrackingSummary

pytestmark = pytest.mark.slow
TRIALS, EPOCHS = 4, 4
FOLDS = {"protocol": "kfold", "folds": 2}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("flask_wtf")
    monkeypatch.setattr(writer, "SECONDS_BETWEEN", 0.05)
    server = Server(tmp_path / "server", login=True)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def drive(plan: Plan, journal: Journal, meanwhile: Callable[[int, Tracker], None]) -> TrackingSummary:
    """What a driver tells of four trials, two at a time; `meanwhile` is called before each epoch."""
    sweep = plan.sweep
    tracker = Tracker(sweep.tracking, sweep.name, journal.header["launch"])
    desk = Desk(plan, journal, tracker, Board(sweep, TRIALS, EPOCHS, [], sys.stderr))
    desk.open()
    for pair in range(0, TRIALS, 2):
        for number in (pair, pair + 1):
            journal.write("point", trial=number, point={**plan.defaults, "loss.SupAP.tau": 0.01 * (number + 1)})
            desk.started(journal.trials[number])
            journal.write("start", trial=number)
        for epoch in range(1, EPOCHS + 1):
            meanwhile(pair * EPOCHS // 2 + epoch, tracker)
            for number in (pair, pair + 1):
                value = 0.1 * epoch + 0.01 * number if epoch != 3 else 0.05
                metrics = {"val/map_at_r": value, "train/images": 64.0, "time/train_s": 0.5}
                metrics |= {f"folds/{fold}/map_at_r": value + fold - 0.5 for fold in (0, 1)}
                desk.reported(number, epoch, metrics, place={"host": "node-1", "gpu": ""})
        for number, state in ((pair, "finished"), (pair + 1, "stopped")):
            desk.ended(number, state, "" if state == "finished" else "asha: rung 4")
    journal.write("left", state="finished", reason="")
    return desk.close(Results(sweep, tuple(journal.trials.values())), "finished", "", 120)


def test_nothing_is_lost_or_doubled_by_a_server_that_is_killed(
    server: Server, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError, match="MLFLOW_TRACKING_USERNAME"):
        store.check(server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", NAME)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    settings = {"tracking": server.uri, "validation": sweep.validation.model_copy(update=FOLDS)}
    plan = make_plan(sweep.model_copy(update=settings))
    journal = Journal(tmp_path / "journal")
    journal.folder.mkdir()
    journal.open()
    journal.write("sweep", launch="disturbed", trials=TRIALS, epochs=EPOCHS, data={"emoji": "1234"})
    journal.write("launch", host="here", pid=1, about={"version.torch": "2", "host": "here"})

    def disturb(step: int, tracker: Tracker) -> None:
        if step == 3:
            while tracker._writer.waiting > 4:  # some is written, some waits
                time.sleep(0.01)
            server.kill()
        elif step == 6:
            server.start()

    with caplog.at_level(logging.WARNING, "tuner.tracking"):
        summary = drive(plan, journal, disturb)
    journal.close()
    assert summary.failed == 0 and summary.first_error, summary
    assert len(caplog.records) == 1 and "the sweep goes on" in caplog.text

    calm = f"sqlite:///{tmp_path}/calm/mlflow.db"
    untouched = make_plan(plan.sweep.model_copy(update={"tracking": calm}))
    assert replay(untouched, Journal.read(tmp_path / "journal"), 60).failed == 0
    found, expected = contents(server.uri, sweep.name), contents(calm, sweep.name)
    assert len(found) == 1 + TRIALS * 3
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key] == expected[key], key
    assert [step for step, _, _ in found["0001/fold1"]["metrics"]["val/map_at_r"]] == [1, 2, 3, 4]
    assert found["0001"]["metrics"]["best/val/map_at_r"][-1][:2] == (4, pytest.approx(0.41))

    # again from the journal: nothing new
    assert replay(plan, Journal.read(tmp_path / "journal"), 60).failed == 0
    again = contents(server.uri, sweep.name)
    assert again == found

    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if PASSWORD.encode() in file.read_bytes()]
    assert PASSWORD not in caplog.text and PASSWORD not in str(summary)
