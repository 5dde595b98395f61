"""A sweep in a few lines, from its journal: its driver, its trials by state, what it has used, the best."""

import math
import time

from tuner import budget
from tuner.board import Board
from tuner.results import Results
from tuner.standing import Standing
from tuner.sweep import Sweep

SHOWN = 10


def status_lines(sweep: Sweep, standing: Standing) -> list[str]:
    """Where the sweep stands: its driver, its trials by state, what of the budget is used, the best."""
    journal = standing.journal
    results = Results(sweep, tuple(journal.trials.values()))
    board = Board(sweep, journal.planned, int(journal.header["epochs"]), [])
    board.follow(journal.trials)
    return [f"{sweep.name} is {standing.words()}: {board.summary()}", *_used(sweep, standing), *ranking(results)]


def _used(sweep: Sweep, standing: Standing) -> list[str]:
    now = time.time() if standing.running else None
    used = {"hours": budget.hours(standing.journal, now), "gpu_hours": budget.gpu_hours(standing.journal, sweep, now)}
    limits = {key: budget.limited(standing.journal, sweep, key) for key in used}
    said = [f"{used[key]:.2f} of {limit:g} {key}" for key, limit in limits.items() if not math.isinf(limit)]
    return [f"budget: {', '.join(said)}"] if said else []


def ranking(results: Results, shown: int = SHOWN) -> list[str]:
    """The best trials as a table of fixed columns."""
    metric = results.sweep.objective.metric
    short = [".".join(key.split(",")[0].split(".")[-2:]) for key in results.sweep.space]
    rows = [["rank", "trial", "state", "epochs", metric, "best epoch", *short]]
    for place, trial in enumerate(results.ranked[:shown], start=1):
        best = trial.best(metric, results.sweep.objective.mode)
        value = ["-", "-"] if best is None else [f"{best[1]:.4f}", str(best[0])]
        point = [f"{number:.4g}" if isinstance(number, float) else str(number) for number in trial.point.values()]
        rows.append([str(place), trial.id, trial.state, str(max(trial.reports, default=0)), *value, *point])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
