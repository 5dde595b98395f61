"""`roadmap-tune ui`: refuses what cannot be served, serves what can, and leaves no process."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.ports import free_port
from tuner.__main__ import main
from tuner.interface import newest
from tuner.journal import FILE, Journal
from tuner.sweep import Sweep
from tuner.tracking import Tracker


def test_a_taken_port_is_one_line(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["ui", str(sweep_file), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said == f"roadmap-tune: port {port} of 127.0.0.1 is taken: --port takes another\n"


def test_nothing_to_show_yet(sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", str(sweep_file), "--port", str(free_port())]) == 2
    assert "`roadmap-tune run` makes it" in capsys.readouterr().err
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.usefixtures("made_store")
def test_a_store_without_the_sweep(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", str(sweep_file), "--port", str(free_port())]) == 2
    said = capsys.readouterr().err
    assert "has no run of 'small': `roadmap-tune track` writes them" in said and said.count("\n") == 1


def test_without_a_name_the_newest_sweep_is_meant(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ui"]) == 2
    assert f"there is no sweep in {tmp_path}/runs yet" in capsys.readouterr().err
    for name, at in (("new", 2_000), ("old", 1_000)):
        named = sweep.model_copy(update={"name": name})
        journal = Journal(named.folder)
        journal.open()
        journal.write("sweep", launch=name, trials=1, epochs=1, sweep=named.model_dump(mode="json"))
        journal.close()
        os.utime(named.folder / FILE, (at, at))
    assert newest().name == "new"
    assert capsys.readouterr().err == "new is the newest sweep; also here: old\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ui", "--address", "127.0.0.1:1"], "ui on a cluster takes the sweep"),
        (["run", "nowhere.yaml"], "there is no sweep file"),
        (["status", "SWEEP"], "there is no sweep 'small'"),
        (["run", "SWEEP", "--resume"], "no sweep to resume"),
        (["run", "SWEEP", "--resume", "--fresh"], "exclude each other"),
        (["check", "SWEEP", "--set", "objective.metric=test/map_at_r"], "never sees the test split"),
        (["data", "build", "emojis"], "did you mean 'emoji'"),
    ],
)
def test_mistakes_exit_with_2_and_leave_nothing(
    arguments: list[str], said: str, sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(sweep_file) if word == "SWEEP" else word for word in arguments]) == 2
    told = capsys.readouterr().err
    assert said in told and told.startswith("roadmap-tune: ") and told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_check_says_what_would_run(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(sweep_file)]) == 0
    said = capsys.readouterr().out
    assert "6 trials of at most 4 epochs" in said and "loss.SupAP.tau: log [0.001, 0.1], preset 0.01" in said


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serves_the_runs_and_ends_with_ctrl_c(sweep_file: Path, tmp_path: Path, how: signal.Signals) -> None:
    tracker = Tracker(f"sqlite:///{tmp_path}/mlruns/mlflow.db", "small", "launch")
    tracker.open({}, {})
    tracker.start_trial("0000", {"a": 1}, {})
    tracker.close("finished", {}, {}, 60)
    port = free_port()
    said = tmp_path / "said"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner", "ui", str(sweep_file), "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}/"
        until = time.monotonic() + 120
        while True:
            assert time.monotonic() < until and process.poll() is None
            try:
                with urllib.request.urlopen(address, timeout=5) as page:
                    assert page.status == 200 and b"MLflow" in page.read()
                    break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.3)
        while "compare-runs?runs=" not in said.read_text():  # once the server answers
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.1)
        listening = {
            one.laddr.ip
            for server in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for one in server.net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, how)
        process.wait(30)
    assert "workflowType=machine_learning" in said.read_text()
    assert "Traceback" not in said.read_text()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
