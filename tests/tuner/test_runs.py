"""Whole sweeps on a real Ray, by the command: finished, interrupted, killed, resumed."""

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tuner.__main__ import main
from tuner.journal import FILE, Journal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("made_store")]
COMMAND = [sys.executable, "-m", "tuner", "run"]
ONE = "budget.concurrent=1"  # one worker to start, where two trials at a time were seen before or are not the subject


def start(sweep_file: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, str(sweep_file), *more],
        cwd=sweep_file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]", seconds: float = 240) -> str:
    output, _ = process.communicate(timeout=seconds)
    return output


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.1)


def reports(folder: Path) -> int:
    file = folder / FILE
    return file.read_text().count('"report"') if file.exists() else 0


def left_behind(pid: int) -> list[str]:
    """Processes of the sweep that outlive it: Ray's, by the session folder named after the driver."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if f"rt-{pid}-" in line and process.status() != psutil.STATUS_ZOMBIE:
            found.append(line[:100])
    return found


def mlflow_runs(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """trial id -> (status, stop reason) of each of its runs, the parent under ""."""
    connection = sqlite3.connect(folder / "mlruns" / "mlflow.db")
    runs = dict(connection.execute("select run_uuid, status from runs"))
    tags: dict[str, dict[str, str]] = {}
    for run, key, value in connection.execute("select run_uuid, key, value from tags"):
        tags.setdefault(run, {})[key] = value
    connection.close()
    found: dict[str, list[tuple[str, str]]] = {}
    for run, status in runs.items():
        own = tags.get(run, {})
        found.setdefault(own.get("trial_id", ""), []).append((status, own.get("stop_reason", "")))
    return found


def commands(folder: Path) -> dict[str, str]:
    """trial id -> the command in its MLflow run that repeats it."""
    connection = sqlite3.connect(folder / "mlruns" / "mlflow.db")
    query = "select t.value, c.value from tags t join tags c on c.run_uuid = t.run_uuid"
    found = dict(connection.execute(f"{query} where t.key = 'trial_id' and c.key = 'command'"))
    connection.close()
    return found


def assert_whole(folder: Path, trials: int) -> None:
    """Every planned trial ended once, in the journal and in MLflow; every epoch of it is in MLflow once."""
    journal = Journal.read(folder / "runs" / "small")
    assert sorted(journal.trials) == list(range(trials)) and journal.complete
    runs = mlflow_runs(folder)
    assert {key: len(value) for key, value in runs.items()} == {"": 1, **{f"{n:04d}": 1 for n in range(trials)}}
    assert runs[""][0][0] == "FINISHED"
    connection = sqlite3.connect(folder / "mlruns" / "mlflow.db")
    steps = connection.execute(
        "select t.value, count(*), count(distinct m.step) from metrics m join tags t on t.run_uuid = m.run_uuid"
        " and t.key = 'trial_id' where m.key = 'val/map_at_r' group by t.value"
    ).fetchall()
    connection.close()
    for trial_id, count, distinct in steps:
        assert count == distinct == len(journal.trials[int(trial_id)].reports)


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code of a command that starts no Ray, so in this process, and all it printed."""
    capsys.readouterr()
    code = main(words)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_a_sweep_from_start_to_repeat(sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = start(sweep_file)
    output = finish(process)
    assert process.returncode == 0, output
    assert not left_behind(process.pid)
    assert_whole(tmp_path, 6)
    journal = Journal.read(tmp_path / "runs" / "small")
    assert journal.trials[0].point["loss.SupAP.tau"] == 0.01
    runs = mlflow_runs(tmp_path)
    for trial in journal.trials.values():
        status, reason = runs[trial.id][0]
        assert status == ("FINISHED" if trial.state == "finished" else "KILLED")
        assert reason == (trial.reason or trial.state)
    assert commands(tmp_path).keys() == {trial.id for trial in journal.trials.values()}
    for said in ("rank", "the presets (trial 0000)", "raw pixels", "roadmap-tune ui"):
        assert said in output
    assert "Traceback" not in output and "ray" not in output.lower() and "\x1b" not in output
    log = (tmp_path / "runs" / "small" / "sweep.log").read_text()
    assert "ray._private.worker info: Started a local Ray instance" in log
    for line in output.splitlines():
        assert f" {line}\n" in log, "the log has all that was said"

    best = re.search(r"best val/map_at_r \S+ \(trial (\d+)\)", output)
    command = re.search(r"roadmap-train (.*)", output)
    assert best is not None and command is not None
    assert commands(tmp_path)[best[1]] == command[0]
    overrides = [*shlex.split(command[1]), f"experience.log_dir={tmp_path}/alone"]
    subprocess.run([sys.executable, "-m", "trainables", *overrides], check=True, capture_output=True, cwd=tmp_path)
    alone = [json.loads(line) for line in next(tmp_path.glob("alone/*/reports.jsonl")).read_text().splitlines()]
    for report in alone[: len(journal.trials[int(best[1])].reports)]:
        told = journal.trials[int(best[1])].reports[report["epoch"]]
        assert {k: v for k, v in told.items() if not k.startswith(("time/", "system/"))} == {
            k: v for k, v in report.items() if not k.startswith(("time/", "system/")) and k != "epoch"
        }

    code, said = asked(capsys, "run", str(sweep_file))
    assert "is finished" in said and code == 2
    code, said = asked(capsys, "status", str(sweep_file))
    assert code == 0 and "small is finished" in said


def test_interrupted_both_ways_killed_and_resumed(
    sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "small"
    longer = ["--set", "train=[dataset.sampler.kwargs.batch_size=16, experience.max_iter=16]"]
    journals = []
    for how, count in ((signal.SIGINT, 6), (signal.SIGTERM, 12), (signal.SIGKILL, 18)):
        process = start(sweep_file, *longer, *(["--resume"] if journals else []))
        wait_for(lambda count=count: reports(folder) >= count)
        began = time.monotonic()
        process.send_signal(how)
        output = finish(process, 30)
        if how == signal.SIGKILL:
            wait_for(lambda process=process: not left_behind(process.pid), 30)
        else:
            assert time.monotonic() - began < 10
            assert process.returncode == 130 and "--resume" in output and "Traceback" not in output
            assert not left_behind(process.pid)
        journals.append(Journal.read(folder))
        assert not journals[-1].complete
    code, said = asked(capsys, "run", str(sweep_file), *longer)
    assert "was interrupted" in said and code == 2
    resumed = start(sweep_file, "--resume", *longer, "--set", ONE)
    output = finish(resumed)
    assert resumed.returncode == 0, output
    assert_whole(tmp_path, 6)
    after = Journal.read(folder)
    for before in journals:
        for number, trial in before.trials.items():
            assert after.trials[number].point == trial.point
            assert trial.reports.items() <= after.trials[number].reports.items() or not trial.ended


def test_trials_that_cannot_be_trained_say_why_and_the_sweep_goes_on(sweep_file: Path, tmp_path: Path) -> None:
    lr, images = "optimizer.backbone.lr", "dataset.sampler.kwargs.samples_per_class"
    space = f"space={{{lr}: {{choice: [0.001, 1.0e+30]}}, {images}: {{choice: [4, 8]}}}}"
    grid = "search={sampler: grid, trials: 5, seed: 1}"
    process = start(sweep_file, "--set", space, "--set", grid, "--set", ONE)
    output = finish(process)
    assert process.returncode == 1 and "Traceback" not in output, output
    trials = Journal.read(tmp_path / "runs" / "small").trials.values()
    told = {(trial.point[lr], trial.point[images]): (trial.state, trial.reason) for trial in trials}
    assert told[(0.001, 4)][0] == "finished"
    assert told[(1e30, 4)][0] == "infeasible" and "diverged" in told[(1e30, 4)][1]
    for state, reason in (told[(0.001, 8)], told[(1e30, 8)]):  # before their first epoch: no class has so many
        assert state == "failed" and "a batch needs 2 classes with at least 8 images" in reason, reason
    diverged = next(trial for trial in trials if trial.state == "infeasible")
    assert mlflow_runs(tmp_path)[diverged.id][0][0] == "FAILED"


def tune(*words: str, folder: Path) -> tuple[int, str]:
    """The exit code of a command and all it printed."""
    done = subprocess.run([sys.executable, "-m", "tuner", *words], capture_output=True, text=True, cwd=folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_detached_stopped_extended(sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = tmp_path / "runs" / "small", str(sweep_file)
    longer = "train=[dataset.sampler.kwargs.batch_size=16, experience.max_iter=12]"
    code, said = tune("run", file, "--detach", "--set", longer, folder=tmp_path)
    assert code == 0, said
    pid = Journal.read(folder).launches[0].pid
    assert f"pid {pid}" in said and str(folder / "sweep.log") in said
    assert os.getsid(pid) == pid
    wait_for(lambda: reports(folder) >= 3)
    code, said = asked(capsys, "concurrent", file, "1")
    assert code == 0 and "1 at a time" in said
    code, said = asked(capsys, "concurrent", file, "4000")
    assert code == 2 and "refused: budget.concurrent=4000" in said
    code, said = asked(capsys, "status", str(folder))
    assert code == 0 and f"(pid {pid}), last event" in said

    code, said = asked(capsys, "stop", file)
    assert code == 0 and "small is interrupted: asked to stop" in said, said
    wait_for(lambda: not left_behind(pid), 20)
    stopped = Journal.read(folder)
    for trial in stopped.trials.values():
        if trial.reports and not trial.ended:
            assert Path(trial.checkpoints[max(trial.reports)]).is_dir(), "its epoch had ended"
    code, said = asked(capsys, "stop", file)
    assert code == 2 and "is not running" in said

    code, said = tune("extend", file, "--trials", "2", "--set", longer, "--set", ONE, folder=tmp_path)
    assert code == 0, said
    assert_whole(tmp_path, 8)
    code, said = asked(capsys, "logs", file)
    assert code == 0 and "asked to stop: nothing more starts" in said, "of the first launch"
    assert "a launch of 8 trials" in said and "repeat the best trial alone" in said, "of the second one"
    after = Journal.read(folder)
    assert all(after.trials[number].point == trial.point for number, trial in stopped.trials.items())
    for trial in after.trials.values():
        assert len([path for path in trial.checkpoints.values() if Path(path).is_dir()]) == 1


@pytest.mark.timeout(900)
def test_a_sweep_that_cannot_work_ends_by_itself(
    sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = "train=[dataset.sampler.kwargs.batch_size=16, optimizer.fc.lr=1.0e+30, optimizer.backbone.lr=1.0e+30]"
    space = "space={loss.SupAP.tau: {loguniform: [0.001, 0.1]}}"
    planned = 200  # those that fail while the second worker is still starting are some
    settings = ["--set", train, "--set", space, "--set", f"search.trials={planned}"]
    code, said = tune("run", str(sweep_file), *settings, folder=tmp_path)
    assert code == 1 and "stopped: the first 3 trials failed alike: diverged" in said, said
    journal = Journal.read(tmp_path / "runs" / "small")
    assert len(journal.trials) < planned and journal.launches[-1].state == "failed"
    assert mlflow_runs(tmp_path)[""][0] == ("FAILED", journal.launches[-1].reason)
    code, said = asked(capsys, "resume", str(sweep_file), *settings)
    assert code == 2 and "retry --infeasible" in said
    code, said = tune("retry", str(sweep_file), "--infeasible", *settings, "--set", ONE, folder=tmp_path)
    assert code == 1 and " trials go on: 0000, 0001, 0002" in said, said
    again = Journal.read(tmp_path / "runs" / "small")
    assert len(again.launches) == 2 and len(again.trials) < planned
    assert all(again.trials[number].point == trial.point for number, trial in journal.trials.items())
    assert len(mlflow_runs(tmp_path)) == len(again.trials) + 1
