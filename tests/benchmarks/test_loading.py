"""The benchmarks of loading and of a trial's costs run, at a size that measures nothing."""

import pytest

from benchmarks import loading, trial


def test_loading() -> None:
    rows = loading.run(full=False, images=4, rounds=1)
    assert [row.goal for row in rows[:2]] == [2.2, 5.0]
    assert all(row.measured > 0 for row in rows) and {row.subject for row in rows} == {"loading"}


@pytest.mark.slow
def test_trial(tiny: list[str]) -> None:
    rows = {row.what: row for row in trial.run(full=False, overrides=tiny, rounds=1)}
    assert rows["a worker imports MLflow"].met and rows["import of torch"].measured > 0
    parts = [rows[f"emoji epoch: {part}"].measured for part in (*trial.PARTS, "backward, and the rest")]
    assert sum(parts) == pytest.approx(rows["emoji epoch: whole"].measured) and min(parts) >= 0
