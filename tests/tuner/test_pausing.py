"""Schedulers other than ASHA on a real Ray: paused trials come back, also after a kill."""

import os
import signal
from pathlib import Path

import pytest

from tests.tuner.test_runs import assert_whole, finish, left_behind, reports, start, wait_for
from tuner.journal import Journal, Trial

pytestmark = pytest.mark.slow
HYPERBAND = ["--set", "scheduler={name: hyperband, grace: 1, reduction: 2}", "--set", "search.sampler=random",
             "--set", "search.trials=7"]  # fmt: skip


def assert_halved(trials: dict[int, Trial]) -> None:
    """Four epochs, reduction 2: four trials of which two, then one go on; three of which one goes on at epoch 2."""
    assert all(trial.state in ("finished", "stopped") for trial in trials.values())
    for members, at_least in (((0, 1, 2, 3), [1, 1, 2, 4]), ((4, 5, 6), [2, 2, 4])):
        epochs = sorted(max(trials[number].reports) for number in members)
        others = sorted(max(trials[number].reports) for number in members if number)
        # trial 0 runs to its end, whatever its place
        assert epochs == at_least or (0 in members and others in ([1, 1, 4], [1, 2, 4], [1, 1, 2]))
    for trial in trials.values():
        assert trial.number != 0 or trial.state == "finished"
        assert (trial.state == "stopped") == trial.reason.startswith("hyperband: rung ")
        assert sorted(trial.reports) == list(range(1, len(trial.reports) + 1))


def test_hyperband_pauses_and_goes_on(sweep_file: Path, tmp_path: Path) -> None:
    process = start(sweep_file, *HYPERBAND)
    output = finish(process)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert not left_behind(process.pid)
    assert_whole(tmp_path, 7)
    whole = Journal.read(tmp_path / "runs" / "small").trials
    assert_halved(whole)
    parts = {path.name for path in (tmp_path / "runs" / "small" / "launch-1").glob("trial-*-part-*")}
    assert parts, "a trial that went on has its checkpoints beside the earlier ones"

    (tmp_path / "runs").rename(tmp_path / "undisturbed")
    (tmp_path / "mlruns").rename(tmp_path / "mlruns-undisturbed")
    for kill in (5, 11):
        process = start(sweep_file, *HYPERBAND, *(["--resume"] if kill > 5 else []))
        wait_for(lambda kill=kill: reports(tmp_path / "runs" / "small") >= kill)  # type: ignore[misc]
        os.kill(process.pid, signal.SIGKILL)
        finish(process)
        wait_for(lambda pid=process.pid: not left_behind(pid), 30)  # type: ignore[misc]
    resumed = start(sweep_file, *HYPERBAND, "--resume")
    output = finish(resumed)
    assert resumed.returncode == 0, output
    assert_whole(tmp_path, 7)
    again = Journal.read(tmp_path / "runs" / "small").trials
    for number, trial in whole.items():
        assert again[number].point == trial.point
        assert (again[number].state, again[number].reason) == (trial.state, trial.reason)
        assert again[number].scores("val/map_at_r") == trial.scores("val/map_at_r")


def test_median_stopping(sweep_file: Path, tmp_path: Path) -> None:
    process = start(sweep_file, "--set", "scheduler={name: median, grace: 1}", "--set", "search.trials=8")
    output = finish(process)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert_whole(tmp_path, 8)
    trials = Journal.read(tmp_path / "runs" / "small").trials.values()
    stopped = [trial for trial in trials if trial.state == "stopped"]
    assert stopped and all(trial.reason.startswith("median: epoch ") for trial in stopped)
