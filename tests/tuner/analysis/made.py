"""Sweeps whose trials are written by hand."""

from collections.abc import Sequence
from typing import Any

from tuner.journal import Trial
from tuner.results import Results
from tuner.space import Point
from tuner.sweep import Sweep

METRIC = "val/map_at_r"
SPACE = {"lr": {"loguniform": [0.001, 1.0]}, "weight": {"uniform": [0.0, 1.0]}}


def trial(
    number: int, point: Point, values: Sequence[float], state: str = "finished", at: float = 0.0, seconds: float = 3600
) -> Trial:
    """One that reported `values` epoch by epoch, an hour each, from the hour `at` on."""
    made = Trial(number, point, state=state)
    made.reports = {n: {METRIC: value, "time/epoch_s": seconds} for n, value in enumerate(values, start=1)}
    made.reported_at = {n: at + n for n in made.reports}
    return made


def results(trials: Sequence[Trial], space: dict[str, Any] | None = None, **more: Any) -> Results:
    sweep = Sweep(**{"name": "made", "goal": "tests", "space": space or SPACE, **more})
    return Results(sweep, tuple(trials))


def lasting(points: Sequence[Point], values: Sequence[float]) -> list[Trial]:
    """Finished trials of one epoch each."""
    return [trial(n, point, [value]) for n, (point, value) in enumerate(zip(points, values, strict=True))]
