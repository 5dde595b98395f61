"""Recorded curves to disk and back, and from the journals of their sweeps."""

from pathlib import Path

import numpy as np
import pytest

from tests.tuner.simulation.test_simulator import METRIC, many
from trainables.errors import UserError
from tuner.journal import Trial
from tuner.simulation.curves import Curve, Curves
from tuner.simulation.recording import curves_of
from tuner.sweep import Sweep


def trial(number: int, point: dict[str, float], values: dict[int, float]) -> Trial:
    reports = {epoch: {METRIC: value, "time/epoch_s": 0.5} for epoch, value in values.items()}
    return Trial(number, dict(point), state="finished", reports=reports)


def test_to_disk_and_back(tmp_path: Path, sweep: Sweep) -> None:
    curves = many(4, 3)
    repeat = Curve(curves.trials[0].point, 7, np.array([0.1, 0.2, 0.3]), np.ones(3))
    written = Curves(METRIC, curves.trials, (curves.trials[0], repeat))
    written.write(tmp_path / "new" / "curves.csv")
    read = Curves.read(tmp_path / "new" / "curves.csv", sweep)
    assert len(read.trials) == 4 and [curve.seed for curve in read.repeats] == [0, 7] and read.epochs == 3
    for one, two in zip((*written.trials, repeat), (*read.trials, read.repeats[1]), strict=True):
        assert one.point == pytest.approx(two.point)
        assert one.values == pytest.approx(two.values, rel=1e-5)
        assert one.seconds == pytest.approx(two.seconds, abs=1e-3)


def test_what_was_recorded_for_another_space_is_refused(tmp_path: Path, sweep: Sweep) -> None:
    many(4, 3).write(tmp_path / "curves.csv")
    other = sweep.model_copy(update={"space": {"optimizer.backbone.lr": sweep.space["optimizer.backbone.lr"]}})
    with pytest.raises(UserError, match="the sweep's are trial, seed, "):
        Curves.read(tmp_path / "curves.csv", other)
    with pytest.raises(UserError, match="`roadmap-tune record` makes them"):
        Curves.read(tmp_path / "none.csv", sweep)


def test_from_journals(sweep: Sweep) -> None:
    """A trial that broke off keeps what it has; the seed that all points share is recorded once."""
    points = [trial(1, {"x": 2.0}, {1: 0.3, 3: 0.9}), trial(0, {"x": 1.0}, {1: 0.1, 2: 0.2})]
    seeds = [trial(0, {"experience.seed": 5}, {1: 0.1, 2: 0.2}), trial(1, {"experience.seed": 6}, {1: 0.2, 2: 0.4})]
    curves = curves_of(sweep, 5, points, seeds)
    assert [curve.values.tolist() for curve in curves.trials] == [[0.1, 0.2], [0.3]]
    assert [(curve.seed, curve.point, curve.values.tolist()) for curve in curves.repeats] == [
        (5, {"x": 1.0}, [0.1, 0.2]), (6, {"x": 1.0}, [0.2, 0.4])]  # fmt: skip
    assert curves.trials[0].seconds.tolist() == [0.5, 0.5] and curves.epochs == 2
