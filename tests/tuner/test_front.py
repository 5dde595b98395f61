"""The Pareto front of a sweep with trade-offs, in the table and in the ranking."""

import math
from pathlib import Path

from tuner import front
from tuner.journal import Trial
from tuner.overview import ranking
from tuner.results import Results
from tuner.sweep import load_sweep

METRIC, COST = "val/map_at_r", "model/dim"
TRADEOFFS = ["tradeoffs=[{metric: model/dim, mode: min}]", "scheduler={name: none}"]


def trial(number: int, *reports: tuple[float, float]) -> Trial:
    """reports: (objective, cost) of each epoch."""
    told = {epoch: {METRIC: value, COST: cost} for epoch, (value, cost) in enumerate(reports, start=1)}
    return Trial(number, {}, "finished", reports=told)


def test_what_no_other_beats(sweep_file: Path) -> None:
    sweep = load_sweep(sweep_file, TRADEOFFS)
    # 0 is the best, 1 is cheaper, 2 is dearer than 1 and worse, 3 equals 1, 4 has no value
    trials = [trial(0, (0.2, 8.0), (0.9, 64.0)), trial(1, (0.5, 16.0)), trial(2, (0.4, 32.0)), trial(3, (0.5, 16.0)),
              trial(4, (math.nan, 1.0))]  # fmt: skip
    assert front.front(sweep, trials) == {0, 1, 3}
    assert front.tradeoffs(sweep, trials[0]) == {COST: 64.0}
    results = Results(sweep, tuple(trials))
    assert results.table.set_index("trial")["front"].to_dict() == {0: True, 1: True, 2: False, 3: True, 4: False}
    assert results.table.set_index("trial")[COST].loc[2] == 32.0
    head, first, *_ = (line.split() for line in ranking(results))
    assert first[head.index(COST)] == "64" and first[head.index("front")] == "*"


def test_without_tradeoffs_there_is_none(sweep_file: Path) -> None:
    sweep = load_sweep(sweep_file)
    assert front.front(sweep, [trial(0, (0.5, 1.0))]) == set()
    assert "front" not in Results(sweep, (trial(0, (0.5, 1.0)),)).table.columns
