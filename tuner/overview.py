"""A sweep in a few lines, from its journal: its driver, its trials by state, what it has used, the best."""

import math
import time
from collections.abc import Sequence
from pathlib import Path

from tuner import budget, front, tables
from tuner.board import Board, trouble
from tuner.journal import BROKEN
from tuner.results import Results
from tuner.space import Value
from tuner.standing import Standing
from tuner.sweep import Sweep

SHOWN = 10


def status_lines(sweep: Sweep, standing: Standing, width: int | None = None) -> list[str]:
    """Where the sweep stands: its driver, its trials by state, what of the budget is used, the best.

    width: of the terminal, to which the table is fitted.
    """
    journal = standing.journal
    results = Results(sweep, tuple(journal.trials.values()))
    board = Board(sweep, journal.planned, int(journal.header["epochs"]), [])
    board.follow(journal.trials)
    said = f"{sweep.name} is {standing.words()}: {board.summary()}"
    return [said, *_used(sweep, standing), *ranking(results, width=width), *troubles(results, journal.folder)]


def _used(sweep: Sweep, standing: Standing) -> list[str]:
    now = time.time() if standing.running else None
    used = {"hours": budget.hours(standing.journal, now), "gpu_hours": budget.gpu_hours(standing.journal, sweep, now)}
    limits = {key: budget.limited(standing.journal, sweep, key) for key in used}
    said = [f"{used[key]:.2f} of {limit:g} {key}" for key, limit in limits.items() if not math.isinf(limit)]
    return [f"budget: {', '.join(said)}"] if said else []


def ranking(results: Results, shown: int = SHOWN, width: int | None = None) -> list[str]:
    """The best trials as a table; width: to which it is fitted, the values and the point before all else."""
    metric, keys = results.sweep.objective.metric, list(results.sweep.space)
    short = [".".join(key.split(",")[0].split(".")[-2:]) for key in keys]
    weighed = [*(one.metric for one in results.sweep.tradeoffs), "front"] if results.sweep.tradeoffs else []
    rows = [["rank", "trial", "state", "epochs", metric, *weighed, "best epoch", *short, "why"]]
    for place, trial in enumerate(results.ranked[:shown], start=1):
        best = trial.best(metric, results.sweep.objective.mode)
        costs = [f"{value:.4g}" for value in front.tradeoffs(results.sweep, trial).values()]
        costs += ["*" if trial.number in results.front else "-"] if weighed else []
        value = ["-", *costs, "-"] if best is None else [results.told(trial), *costs, str(best[0])]
        point = [_shown(results.point(trial).get(key, "-")) for key in keys]
        rows.append(
            [str(place), trial.id, trial.state, str(max(trial.reports, default=0)), *value, *point, trial.reason]
        )
    why, best_epoch = len(rows[0]) - 1, 5 + len(weighed)
    settings = range(why - 1, best_epoch, -1)
    fitted, left_out = tables.fit(rows, width, [why, best_epoch, 3, 0, *settings], settings, why)
    told = tables.left_out_line(left_out, width, "results.csv has them")
    widths = tables.widths(fitted)
    if "why" not in left_out:
        widths[-1] = 0
    return [*(_line(row, widths) for row in fitted), *told]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def troubles(results: Results, folder: Path, shown: int = SHOWN) -> list[str]:
    """The trials that came to no good end, each with its reason and the file that says more."""
    bad = [trial for trial in results.trials if trial.state in ("infeasible", *BROKEN)]
    lines = [trouble(folder, trial) for trial in bad[:shown]]
    return lines + ([f"and {len(bad) - shown} more: results.csv has them"] if len(bad) > shown else [])


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
