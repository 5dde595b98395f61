"""The driver's costs by parts of a sweep, by hand; and a small sweep of replayed curves, for real."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale import Sample, measure, sweep_of, windows
from tuner.journal import Journal

ZERO = Sample(
    trials=0, reports=0, at=10.0, cpu_s=5.0, mlflow_s=1.0, memory_mb=500.0, journal_mb=0.0, snapshot_mb=0.0,
    snapshots=0, snapshot_s=0.0, draws=0, draw_s=0.0, unwritten=0, running=0,
)  # fmt: skip


def test_windows_by_hand() -> None:
    half = replace(ZERO, trials=2, reports=10, at=12.0, cpu_s=5.5, mlflow_s=1.1, draws=4, draw_s=0.1, memory_mb=501.0)
    end = replace(half, trials=4, reports=30, at=17.0, cpu_s=6.7, mlflow_s=1.5, draws=6, draw_s=0.2, snapshots=1,
                  snapshot_s=0.03, unwritten=7)  # fmt: skip
    first, second = windows([ZERO, replace(ZERO, trials=1), half, end], trials=4, parts=2)
    assert (first.trials, second.trials) == (2, 4)
    assert first.report_ms == pytest.approx(40) and second.report_ms == pytest.approx(55)
    assert first.draw_ms == pytest.approx(25) and second.draw_ms == pytest.approx(50)
    assert first.mlflow_ms == pytest.approx(10) and second.mlflow_ms == pytest.approx(20)
    assert first.snapshot_ms == 0 and second.snapshot_ms == pytest.approx(30)
    assert first.reports_a_second == pytest.approx(5) and second.reports_a_second == pytest.approx(4)
    assert (first.memory_mb, second.unwritten) == (501.0, 7)


@pytest.mark.slow
def test_a_sweep_of_replayed_curves(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 8, 4, "search.startup=2")
    found, rest = measure(sweep, 0.0, tmp_path / "samples.jsonl")
    trials = Journal.read(sweep.folder).trials
    assert {trial.state for trial in trials.values()} <= {"finished", "stopped"} and len(trials) == 8
    assert found[-1].snapshot_mb < 0.01, "Ray's own record has no trials"
    assert [window.trials for window in found][-1] == 8 and rest["unwritten"] == 0
    assert rest["reports"] == sum(len(trial.reports) for trial in trials.values()) >= 3 * 8
