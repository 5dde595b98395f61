"""Population based training on a real Ray: exchanges, a kill among them, and a winner that its schedule repeats."""

import json
import os
import shlex
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.tuner.test_pausing import hard_file  # noqa: F401
from tests.tuner.test_runs import ONE, assert_whole, finish, left_behind, reports, start, wait_for
from trainables.__main__ import main
from tuner.journal import Journal, Trial
from tuner.lineage import lineage
from tuner.results import Results
from tuner.sweep import load_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("made_store")]
PBT = [
    "scheduler={name: pbt, interval: 1, quantile: 0.5, resample: 0.1}",
    "search={sampler: random, trials: 4, seed: 3}",
]
SET = [word for setting in PBT for word in ("--set", setting)]


def numbers(report: dict[str, float]) -> dict[str, float]:
    """What does not depend on the clock."""
    return {key: value for key, value in report.items() if not key.startswith(("time/", "system/")) and key != "epoch"}


def decisions(trials: dict[int, Trial]) -> dict[int, tuple[object, ...]]:
    return {number: (trial.state, trial.point, trial.schedule,
                     {epoch: numbers(told) for epoch, told in trial.reports.items()})
            for number, trial in trials.items()}  # fmt: skip


def test_the_winners_schedule_is_one_training(hard_file: Path, tmp_path: Path) -> None:  # noqa: F811
    process = start(hard_file, *SET, "--set", ONE)
    output = finish(process)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert_whole(tmp_path, 4)
    folder = tmp_path / "runs" / "small"
    trials = Journal.read(folder).trials
    assert all(trial.state == "finished" and sorted(trial.reports) == [1, 2, 3, 4] for trial in trials.values())
    assert not trials[0].schedule and any(trial.schedule for trial in trials.values())
    results = Results(load_sweep(hard_file, PBT), tuple(trials.values()))
    changed = [trial for trial in results.ranked if len(lineage(trials, trial.number, 4)) > 1]
    for trial in {changed[0].number: changed[0], results.ranked[0].number: results.ranked[0]}.values():
        assert_repeated(results, trials, trial, tmp_path / trial.id)
    connection = sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")
    told = connection.execute("select count(*) from metrics where key = 'pbt/optimizer.backbone.lr'").fetchone()
    connection.close()
    assert told[0] == 16

    # the same sweep, two trials at a time, killed among its exchanges
    again = ["--set", f"storage={tmp_path}/again", "--set", f"tracking=sqlite:///{tmp_path}/again.db"]
    other = tmp_path / "again" / "small"
    killed = start(hard_file, *SET, *again)
    wait_for(lambda: reports(other) >= 7)
    os.kill(killed.pid, signal.SIGKILL)
    finish(killed)
    wait_for(lambda: not left_behind(killed.pid), 30)
    process = start(hard_file, *SET, *again, "--resume")
    output = finish(process)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert decisions(Journal.read(other).trials) == decisions(trials)


def assert_repeated(results: Results, trials: dict[int, Trial], trial: Trial, place: Path) -> None:
    """The command of the trial gives the reports along its lineage, to the bit."""
    best = trial.best("val/map_at_r", "max")
    assert best is not None
    program, *words = shlex.split(results.command(trial))
    assert program == "roadmap-train" and "--schedule" in words
    assert main([*words, f"experience.log_dir={place}"]) == 0
    alone = [json.loads(line) for line in next(place.glob("*/reports.jsonl")).read_text().splitlines()]
    assert [report["epoch"] for report in alone] == [1, 2, 3, 4]
    for part in lineage(trials, trial.number, best[0]):
        for epoch in range(part.first, part.last + 1):
            assert numbers(trials[part.trial].reports[epoch]) == numbers(alone[epoch - 1])
