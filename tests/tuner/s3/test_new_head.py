"""A real sweep in S3: its driver is killed, its machine's disk is gone, and another goes on from the bucket alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.tuner.s3.conftest import keys
from tests.tuner.test_kills import runs
from trainables import bucket
from tuner import mirror, places
from tuner.journal import FILE, Journal
from tuner.places import ROOT
from tuner.retention import CHECKPOINTS
from tuner.sweep import load_sweep

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("made_store")]
TRIALS, EPOCHS = 3, 8
REPOSITORY = Path(__file__).parents[3]


def start(file: Path, command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tuner", command, str(file)],
        cwd=file.parent,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def copied(folder: Path) -> bytes:
    """The journal as it is in the bucket."""
    home = places.home(folder)
    return b"".join(bucket.read(bucket.below(home, key)) or b"" for key in keys(home) if FILE in key)


def test_a_new_head_goes_on_from_the_bucket(
    sweep_file: Path, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {
        **yaml.safe_load(sweep_file.read_text()),
        "train": ["dataset.sampler.kwargs.batch_size=16", f"experience.max_iter={EPOCHS}"],
        "search": {"trials": TRIALS, "sampler": "random", "seed": 1},
        "scheduler": {"name": "none"},
        "storage": storage,
    }
    sweep_file.write_text(yaml.safe_dump(written))
    monkeypatch.setenv(ROOT, str(tmp_path / "head"))
    folder = load_sweep(sweep_file).folder
    process = start(sweep_file, "run")
    until = time.monotonic() + 120
    while copied(folder).count(b'"event": "checkpoint"') < 3:
        assert time.monotonic() < until and process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = Journal.read(folder)
    done = {number: max(trial.checkpoints, default=0) for number, trial in first.trials.items()}
    shutil.rmtree(tmp_path / "head")

    monkeypatch.setenv(ROOT, str(tmp_path / "new"))
    folder = load_sweep(sweep_file).folder
    mirror.pull(folder)
    brought = Journal.read(folder)
    resumed = start(sweep_file, "resume")
    output, _ = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, output
    trials = Journal.read(folder).trials
    assert {trial.state for trial in trials.values()} == {"finished"} and sorted(trials) == list(range(TRIALS))
    events = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    trained = [(event["trial"], event["epoch"]) for event in events if event["event"] == "report"]
    kept = {number: max(trial.checkpoints, default=0) for number, trial in brought.trials.items()}
    assert sum(kept.values()) >= 3 and all(epoch <= done[number] for number, epoch in kept.items())
    for number in trials:
        again = [epoch for epoch in range(1, EPOCHS + 1) if trained.count((number, epoch)) > 1]
        assert all(epoch > kept.get(number, 0) for epoch in again), "an epoch with a checkpoint was trained again"
    home = places.home(folder)
    there = bucket.folders(home, CHECKPOINTS)
    best = {
        trial.checkpoints[max(trial.reports, key=lambda epoch: trial.reports[epoch]["val/map_at_r"])]
        for trial in trials.values()
    }
    assert set(there) == best, "old checkpoints are gone"
    assert copied(folder) == (folder / FILE).read_bytes()
    told = runs(tmp_path)
    assert sorted(told) == ["", *(trial.id for trial in trials.values())]
    for trial in trials.values():
        steps = [step for key, step, _ in told[trial.id]["metrics"] if key == "val/map_at_r"]
        assert sorted(steps) == list(range(1, EPOCHS + 1))
