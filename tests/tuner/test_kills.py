"""kill -9 at random times, again and again: a sweep that is resumed is the sweep that nobody disturbed.

ROADMAP_TUNE_KILLS=10 kills ten times in a row; as shipped it is once, for a launch takes Ray seconds.
"""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuner.journal import FILE, Journal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
KILLS = int(os.environ.get("ROADMAP_TUNE_KILLS", "1"))
ROOT = Path(__file__).parent.parent.parent
TRIALS = 8


def sweep_in(folder: Path, sweep_file: Path, sampler: str, scheduler: str) -> Path:
    """The small sweep with this sampler, its results and store in `folder`."""
    written = yaml.safe_load(sweep_file.read_text())
    written |= {
        "train": ["dataset.sampler.kwargs.batch_size=16", "experience.max_iter=6"],
        "search": {"trials": TRIALS, "sampler": sampler, "seed": 1, **({"startup": 3} if sampler == "tpe" else {})},
        "scheduler": {"name": scheduler, **({"grace": 1, "reduction": 2} if scheduler == "asha" else {})},
        "storage": str(folder / "runs"),
        "tracking": f"sqlite:///{folder}/mlruns/mlflow.db",
    }
    folder.mkdir()
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(written))
    return file


def start(file: Path) -> "subprocess.Popen[bytes]":
    """Goes on where there is something to go on with."""
    folder = file.parent / "runs" / "small"
    command = "resume" if Journal.read(folder).header else "run"
    with (file.parent / "output").open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tuner", command, str(file)],
            cwd=file.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


MEASURED = ("time/", "throughput/", "system/")  # of the machine


def kill_at_random(process: "subprocess.Popen[bytes]", journal: Path, generator: random.Random) -> bool:
    """Any time of a launch, while its trials run three times of four; False where it ended before that."""
    begun = started(journal)
    if generator.random() < 0.25:
        time.sleep(generator.uniform(0, 15))
    else:
        while started(journal) == begun and process.poll() is None:
            time.sleep(0.02)
        time.sleep(generator.uniform(0, 1.5))
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def started(journal: Path) -> int:
    return journal.read_text().count('"start"') if journal.exists() else 0


def runs(folder: Path) -> dict[str, dict[str, Any]]:
    """trial id ("" the sweep's own) -> what its one MLflow run has: status, ends, parameters, metrics by step."""
    connection = sqlite3.connect(folder / "mlruns" / "mlflow.db")
    found: dict[str, dict[str, Any]] = {}
    for run, status in connection.execute("select run_uuid, status from runs").fetchall():
        tags = dict(connection.execute("select key, value from tags where run_uuid = ?", (run,)))
        trial = tags.get("trial_id", "")
        assert trial not in found, f"trial {trial!r} has two runs"
        metrics = connection.execute("select key, step, value from metrics where run_uuid = ?", (run,)).fetchall()
        found[trial] = {
            "status": status,
            "ends": (tags.get("state"), tags.get("stop_reason")),
            "parameters": dict(connection.execute("select key, value from params where run_uuid = ?", (run,))),
            "metrics": sorted(metric for metric in metrics if not metric[0].startswith(MEASURED)),
        }
    connection.close()
    return found


def disturbed(file: Path) -> int:
    """Runs the sweep to its end through KILLS kills; how many of them met a driver."""
    generator = random.Random(5)
    journal = file.parent / "runs" / "small" / FILE
    kills = sum(kill_at_random(start(file), journal, generator) for _ in range(KILLS))
    if not Journal.read(journal.parent).complete:
        last = start(file)
        assert last.wait() == 0, (file.parent / "output").read_text()
    return kills


def test_random_points_and_runs_are_those_of_an_undisturbed_sweep(sweep_file: Path, tmp_path: Path) -> None:
    calm = sweep_in(tmp_path / "calm", sweep_file, "random", "none")
    assert start(calm).wait() == 0, (calm.parent / "output").read_text()
    file = sweep_in(tmp_path / "killed", sweep_file, "random", "none")
    assert disturbed(file) == KILLS
    expected, found = (Journal.read(one.parent / "runs" / "small").trials for one in (calm, file))
    assert sorted(found) == list(range(TRIALS))
    assert {number: trial.point for number, trial in found.items()} == {
        number: trial.point for number, trial in expected.items()
    }
    assert all(trial.state == "finished" for trial in found.values())
    assert runs(file.parent) == runs(calm.parent)


def test_tpe_loses_and_doubles_no_trial(sweep_file: Path, tmp_path: Path) -> None:
    file = sweep_in(tmp_path / "killed", sweep_file, "tpe", "asha")
    assert disturbed(file) == KILLS
    trials = Journal.read(file.parent / "runs" / "small").trials
    assert sorted(trials) == list(range(TRIALS)) and all(trial.ended for trial in trials.values())
    assert trials[0].state == "finished"
    told = runs(file.parent)
    assert sorted(told) == ["", *(trial.id for trial in trials.values())]
    for trial in trials.values():
        steps = [step for key, step, _ in told[trial.id]["metrics"] if key == "val/map_at_r"]
        assert sorted(steps) == sorted(trial.reports) == list(range(1, len(trial.reports) + 1))
        assert told[trial.id]["ends"] == (trial.state, trial.reason or trial.state)
