"""MLflow: a real sqlite store, written from the tracker's thread."""

import logging
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainables.errors import UserError
from tuner import store
from tuner.journal import Journal
from tuner.plan import make_plan
from tuner.replay import replay
from tuner.sweep import Sweep
from tuner.tracking import Tracker, TrackingSummary, name


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield f"sqlite:///{tmp_path_factory.mktemp('store')}/mlruns/mlflow.db"


def runs(uri: str, experiment: str) -> tuple[Any, list[Any], list[Any]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    every = client.search_runs([found.experiment_id])
    parents = [run for run in every if "mlflow.parentRunId" not in run.data.tags]
    return client, parents, [run for run in every if "mlflow.parentRunId" in run.data.tags]


def launch(uri: str, experiment: str, launch_id: str = "launch") -> Tracker:
    tracker = Tracker(uri, experiment, launch_id)
    tracker.open({"goal": "test"}, {"sweep.json": "{}"})
    return tracker


def test_parent_children_params_metrics_and_ends(uri: str) -> None:
    tracker = launch(uri, "whole")
    tracker.start_trial("0000", {"loss.SupAP.tau": 0.01}, {"host": "here"})
    tracker.start_trial("0001", {"loss.SupAP.tau": 0.02}, {})
    for epoch in (1, 2, 3):
        tracker.report("0000", epoch, {"val/map_at_r": 0.1 * epoch, "map@r": 1.0}, time.time())
    tracker.report("0001", 1, {"val/map_at_r": math.nan}, time.time())
    tracker.end_trial("0000", "finished", "", {"val/map_at_r": 0.3})
    tracker.end_trial("0001", "stopped", "asha: rung 1", {})
    summary = tracker.close("finished", {"val/map_at_r": 0.3}, {"results.csv": "a,b\n"}, 60)
    assert summary.failed == 0, summary
    client, parents, children = runs(uri, "whole")
    assert len(parents) == 1 and parents[0].info.status == "FINISHED"
    assert parents[0].data.metrics["best/val/map_at_r"] == 0.3
    assert {file.path for file in client.list_artifacts(parents[0].info.run_id)} == {"sweep.json", "results.csv"}
    by_trial = {run.data.tags["trial_id"]: run for run in children}
    assert by_trial["0000"].data.params == {"loss.SupAP.tau": "0.01"}
    history = client.get_metric_history(by_trial["0000"].info.run_id, "val/map_at_r")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.1), (2, 0.2), (3, pytest.approx(0.3))]
    assert "map_r" in by_trial["0000"].data.metrics
    assert (by_trial["0000"].info.status, by_trial["0001"].info.status) == ("FINISHED", "KILLED")
    assert by_trial["0001"].data.tags["stop_reason"] == "asha: rung 1"


def test_resume_finds_the_runs_again(uri: str) -> None:
    first = launch(uri, "resumed")
    first.start_trial("0000", {"a": 1}, {})
    first.report("0000", 1, {"m": 0.1}, time.time())
    first.report("0000", 2, {"m": 0.2}, time.time())
    first.close("interrupted", {}, {}, 60)
    _, parents, children = runs(uri, "resumed")
    assert children[0].data.tags["stop_reason"] == "interrupted" and children[0].info.status == "KILLED"
    second = launch(uri, "resumed")
    second.start_trial("0000", {"a": 1}, {})
    second.report("0000", 2, {"m": 0.2}, time.time())
    second.report("0000", 3, {"m": 0.3}, time.time())
    second.end_trial("0000", "finished", "", {"m": 0.3})
    assert second.close("finished", {}, {}, 60).failed == 0
    client, parents, children = runs(uri, "resumed")
    assert len(parents) == len(children) == 1
    assert [metric.step for metric in client.get_metric_history(children[0].info.run_id, "m")] == [1, 2, 3]
    assert children[0].info.status == "FINISHED"


def test_a_trial_that_ended_before_the_driver_was_killed_is_settled(uri: str) -> None:
    first = launch(uri, "settled")
    first.start_trial("0000", {"a": 1}, {})
    first.report("0000", 1, {"m": 0.1}, time.time())
    first.end_trial("0000", "finished", "", {"m": 0.1})
    first.start_trial("0001", {"a": 2}, {})
    first._writer.close(60)  # killed: the end of 0001 and all of 0002 never came
    second = launch(uri, "settled")
    for trial_id, state in (("0000", "finished"), ("0001", "stopped"), ("0002", "finished")):
        second.settle_trial(trial_id, {"a": 1}, {}, state, "why", {"m": 0.2})
        second.report(trial_id, 1, {"m": 0.2}, 1000.0)
    assert second.close("finished", {}, {}, 60).failed == 0
    client, _, children = runs(uri, "settled")
    by_trial = {run.data.tags["trial_id"]: run for run in children}
    assert len(children) == 3
    assert [by_trial[key].info.status for key in sorted(by_trial)] == ["FINISHED", "KILLED", "FINISHED"]
    histories = {key: client.get_metric_history(run.info.run_id, "m") for key, run in by_trial.items()}
    assert {key: [metric.value for metric in found] for key, found in histories.items()} == {
        "0000": [0.1], "0001": [0.2], "0002": [0.2]
    }  # fmt: skip
    assert histories["0002"][0].timestamp == 1000_000


def test_another_launch_is_another_parent(uri: str) -> None:
    launch(uri, "twice", "a").close("finished", {}, {}, 60)
    launch(uri, "twice", "b").close("finished", {}, {}, 60)
    assert len(runs(uri, "twice")[1]) == 2


def test_a_broken_store_is_counted_and_never_raised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    tracker = Tracker(f"sqlite:///{tmp_path}/file/mlflow.db", "x", "launch")
    with caplog.at_level(logging.WARNING, "tuner.tracking"):
        tracker.open({}, {})
        tracker.start_trial("0000", {}, {})
        tracker.report("0000", 1, {"m": 1.0}, time.time())
        summary = tracker.close("finished", {}, {}, 8)
    assert isinstance(summary, TrackingSummary) and summary.failed > 0 and summary.first_error
    assert len(caplog.records) == 1


def test_a_run_that_the_store_made_without_an_answer_is_found_again(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    make, cut = MlflowClient.create_run, [True]

    def answer_lost(client: Any, experiment: str, tags: dict[str, str], **more: Any) -> Any:
        made = make(client, experiment, tags=tags, **more)
        if "trial_id" in tags and cut.pop():
            raise ConnectionError("reset by peer")
        return made

    tracker = launch(uri, "unanswered")
    monkeypatch.setattr(MlflowClient, "create_run", answer_lost)
    tracker.start_trial("0000", {"a": 1}, {})
    tracker.end_trial("0000", "finished", "", {})
    assert tracker.close("finished", {}, {}, 60).failed == 0
    _, _, children = runs(uri, "unanswered")
    assert [run.data.params for run in children] == [{"a": "1"}]


def test_names_and_addresses(tmp_path: Path) -> None:
    assert name("map@r") == "map_r" and name("val/map_at_r") == "val/map_at_r"
    assert store.safe("http://me:secret@host:1/") == "http://***@host:1/"
    for wrong in ("sqlit:///x", "mlruns", "sqlite://x.db", "http://127.0.0.1:9"):
        with pytest.raises(UserError):
            store.check(wrong)
    store.check(f"sqlite:///{tmp_path}/deep/er/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_importing_the_tracker_does_not_import_mlflow() -> None:
    script = "import sys, tuner.tracking, trainables.trainable; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_mlflow_missed_is_written_from_the_journal_once(sweep: Sweep, tmp_path: Path) -> None:
    plan, journal = make_plan(sweep), Journal(tmp_path / "j")
    journal.open()
    journal.write("sweep", launch="missed", trials=2, epochs=4)
    journal.write("launch", host="here", pid=1)
    for number in (0, 1):
        journal.write("point", trial=number, point=plan.defaults)
        for epoch in (1, 2):
            journal.write("report", trial=number, epoch=epoch, metrics={"val/map_at_r": 0.1 * epoch})
    journal.write("end", trial=0, state="stopped", reason="asha: rung 2")
    journal.write("left", state="interrupted", reason="")
    journal.close()
    for _ in range(2):
        assert replay(plan, Journal.read(tmp_path / "j"), 60).failed == 0
    client, parents, children = runs(sweep.tracking, sweep.name)
    assert len(parents) == 1 and parents[0].info.status == "KILLED"
    states = {run.data.tags["trial_id"]: run.data.tags["state"] for run in children}
    assert states == {"0000": "stopped", "0001": "interrupted"} and len(children) == 2
    for run in children:
        history = client.get_metric_history(run.info.run_id, "val/map_at_r")
        assert [(metric.step, metric.value) for metric in history] == [(1, 0.1), (2, 0.2)]
