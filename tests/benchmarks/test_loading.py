"""The benchmarks of loading, of a trial's costs and of an epoch run, at a size that measures nothing."""

from pathlib import Path

import pytest

from benchmarks import epoch, loading, report, trial


def test_loading() -> None:
    rows = loading.run(full=False, images=4, rounds=1)
    assert [row.goal for row in rows[:4]] == [2.2, 5.0, 2.2, 5.0]
    assert all(row.measured > 0 for row in rows) and {row.subject for row in rows} == {"loading"}


@pytest.mark.slow
def test_trial(tiny: list[str]) -> None:
    rows = {row.what: row for row in trial.run(full=False, overrides=tiny, rounds=1)}
    assert rows["a worker imports MLflow"].met and rows["import of torch"].measured > 0
    (warm,) = (row for what, row in rows.items() if what.startswith("a warm Ray actor"))
    assert warm.goal == 1.0 and 0 < warm.measured < 60


def test_the_parts_of_an_epoch_are_the_whole(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch, "MODELS", {"conv4": ()})
    rows = epoch.run(full=False, overrides=tiny, rounds=1)
    found = {row.what: row for row in rows}
    parts = [found[f"conv4: {part}"].measured for part in epoch.PARTS]
    assert sum(parts) == pytest.approx(found["conv4: whole epoch"].measured) and min(parts) > 0
    share = found["conv4: share of the evaluation"]
    assert share.goal == 10 and share.measured >= found["conv4: share of it if it were the forward pass alone"].measured
    (own,) = epoch.shares(rows).values()
    assert sum(own.values()) == pytest.approx(100)
    report.write(tmp_path, rows, {}, {"product alone": [(8, 1.0)]})
    assert (tmp_path / "epoch.svg").stat().st_size > 1000
