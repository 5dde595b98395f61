"""A sweep in a few lines, from its journal: its driver, its trials by state, what it has used, the best."""

import math
import time
from pathlib import Path

from tuner import budget, front
from tuner.board import Board
from tuner.journal import BROKEN, traceback_file
from tuner.results import Results
from tuner.space import Value
from tuner.standing import Standing
from tuner.sweep import Sweep

SHOWN = 10


def status_lines(sweep: Sweep, standing: Standing) -> list[str]:
    """Where the sweep stands: its driver, its trials by state, what of the budget is used, the best."""
    journal = standing.journal
    results = Results(sweep, tuple(journal.trials.values()))
    board = Board(sweep, journal.planned, int(journal.header["epochs"]), [])
    board.follow(journal.trials)
    said = f"{sweep.name} is {standing.words()}: {board.summary()}"
    return [said, *_used(sweep, standing), *ranking(results), *troubles(results, journal.folder)]


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
    weighed = [*(one.metric for one in results.sweep.tradeoffs), "front"] if results.sweep.tradeoffs else []
    rows = [["rank", "trial", "state", "epochs", metric, *weighed, "best epoch", *short, "why"]]
    for place, trial in enumerate(results.ranked[:shown], start=1):
        best = trial.best(metric, results.sweep.objective.mode)
        costs = [f"{value:.4g}" for value in front.tradeoffs(results.sweep, trial).values()]
        costs += ["*" if trial.number in results.front else "-"] if weighed else []
        value = ["-", *costs, "-"] if best is None else [results.told(trial), *costs, str(best[0])]
        point = [_shown(results.point(trial).get(key, "-")) for key in results.sweep.space]
        rows.append(
            [str(place), trial.id, trial.state, str(max(trial.reports, default=0)), *value, *point, trial.reason]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths[-1] = 0
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def troubles(results: Results, folder: Path, shown: int = SHOWN) -> list[str]:
    """The trials that came to no good end, each with its reason and where its traceback is."""
    bad = [trial for trial in results.trials if trial.state in ("infeasible", *BROKEN)]
    lines = []
    for trial in bad[:shown]:
        kept = traceback_file(folder, trial.number)
        lines.append(f"trial {trial.id} {trial.state}: {trial.reason}" + (f"; {kept}" if kept.is_file() else ""))
    return lines + ([f"and {len(bad) - shown} more: results.csv has them"] if len(bad) > shown else [])


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
