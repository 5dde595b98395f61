"""Schedulers other than ASHA on a real Ray: paused trials come back, also after a kill."""

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import write_emoji
from tests.tuner.test_runs import ONE, assert_whole, finish, left_behind, start, wait_for
from tuner.journal import Journal, Trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("made_store")]
HYPERBAND = ["--set", "scheduler={name: hyperband, grace: 1, reduction: 2}", "--set",
             "search={sampler: random, trials: 7, seed: 1}"]  # fmt: skip


@pytest.fixture
def hard_file(sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small sweep on images so noisy that its points differ in what they reach."""
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(write_emoji(tmp_path / "data", noise=250)))
    return sweep_file


def assert_halved(trials: dict[int, Trial]) -> None:
    """Four epochs, reduction 2: four trials of which two, then one go on; three of which one goes on at epoch 2."""
    assert all(trial.state in ("finished", "stopped") for trial in trials.values())
    epochs = [max(trials[number].reports) for number in range(7)]
    # of the four, trial 0 runs to its end: it came in the first half, in the first place, or in neither
    assert epochs[0] == 4 and sorted(epochs[1:4]) in ([1, 1, 4], [1, 1, 2], [1, 2, 4])
    assert sorted(epochs[4:]) == [2, 2, 4]
    for trial in trials.values():
        assert trial.number != 0 or trial.state == "finished"
        assert (trial.state == "stopped") == trial.reason.startswith("hyperband: rung ")
        assert sorted(trial.reports) == list(range(1, len(trial.reports) + 1))


def test_hyperband_pauses_goes_on_and_outlives_a_kill(hard_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "small"
    process = start(hard_file, *HYPERBAND)

    def came_back() -> bool:
        """A trial that paused and went on has its checkpoints beside the earlier ones."""
        folders = [path.name.split("-")[1] for path in (folder / "launch-1").glob("trial-*")]
        return len(set(folders)) < len(folders)

    wait_for(came_back)
    os.kill(process.pid, signal.SIGKILL)
    finish(process)
    wait_for(lambda: not left_behind(process.pid), 30)
    before = Journal.read(folder).trials
    resumed = start(hard_file, *HYPERBAND, "--resume", "--set", ONE)
    output = finish(resumed)
    assert resumed.returncode == 0 and "Traceback" not in output, output
    assert not left_behind(resumed.pid)
    assert_whole(tmp_path, 7)
    after = Journal.read(folder).trials
    assert_halved(after)
    for number, trial in before.items():
        assert after[number].point == trial.point
        assert not trial.ended or (after[number].state, after[number].reason) == (trial.state, trial.reason)


def test_median_stopping(hard_file: Path, tmp_path: Path) -> None:
    """Learning rates so small that nothing is learned come last in the grid."""
    process = start(
        hard_file,
        *(
            "--set",
            ONE,
            "--set",
            "scheduler={name: median, grace: 1}",
            "--set",
            "search={sampler: grid, trials: 6}",
        ),
        *("--set", "space={optimizer.backbone.lr: {choice: [0.01, 0.02, 0.03, 1.0e-6, 2.0e-6]}}"),
    )
    output = finish(process)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert_whole(tmp_path, 6)
    trials = Journal.read(tmp_path / "runs" / "small").trials
    assert [trials[number].state for number in (0, 4, 5)] == ["finished", "stopped", "stopped"]
    for number in (4, 5):
        assert trials[number].reason.startswith("median: epoch 1, best ") and trials[number].reason in output
