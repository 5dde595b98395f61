"""What the commands print of a sweep that was launched: the standing during, the ranking after."""

import math

import numpy as np

from trainables.building import build_dataset
from trainables.composition import compose
from trainables.data import same_size
from trainables.errors import UserError
from trainables.evaluation import pixel_embeddings, retrieval_metrics
from trainables.splitting import validations
from tuner.board import Board
from tuner.journal import FILE, Journal, Trial, running
from tuner.plan import Plan
from tuner.results import Results
from tuner.space import Value
from tuner.sweep import Sweep

SHOWN = 10


def status_lines(sweep: Sweep) -> list[str]:
    """Where the sweep in the folder stands."""
    if not (sweep.folder / FILE).is_file():
        raise UserError(f"there is no sweep {sweep.name!r} in {sweep.folder}")
    journal = Journal.read(sweep.folder)
    results = Results(sweep, tuple(journal.trials.values()))
    planned = int(journal.header["trials"])
    epochs = compose(sweep.fixed()).experience.max_iter
    board = Board(sweep, planned, epochs, [])
    board.follow(journal.trials)
    state = "running" if running(sweep.folder) else "finished" if journal.complete else "interrupted"
    return [f"{sweep.name} is {state}: {board.summary()}", *ranking(results)]


def ranking(results: Results, shown: int = SHOWN) -> list[str]:
    """The best trials as a table of fixed columns."""
    metric = results.sweep.objective.metric
    short = [".".join(key.split(",")[0].split(".")[-2:]) for key in results.sweep.space]
    rows = [["rank", "trial", "state", "epochs", metric, "best epoch", *short]]
    for place, trial in enumerate(results.ranked[:shown], start=1):
        best = trial.best(metric, results.sweep.objective.mode)
        value = ["-", "-"] if best is None else [results.told(trial), str(best[0])]
        point = [_shown(trial.point.get(key, "-")) for key in results.sweep.space]
        rows.append([str(place), trial.id, trial.state, str(max(trial.reports, default=0)), *value, *point])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def closing_lines(plan: Plan, results: Results, file: str) -> list[str]:
    """The ranking, where the defaults stand, the floor, how to repeat the winner, how to look further."""
    best = results.best
    lines = ["", *ranking(results), ""]
    if best is None:
        return [*lines, "no trial has a value yet"]
    metric = plan.sweep.objective.metric
    values = [results.value(trial) for trial in results.trials if not math.isnan(results.value(trial))]
    states = {state: sum(trial.state == state for trial in results.trials) for state in ("finished", "stopped")}
    place = results.place(0)
    defaults = (
        "no value"
        if place is None
        else f"{results.value(_trial(results, 0)):.4f}, place {place} of {len(results.trials)}"
    )
    floor = pixel_floor(plan)
    lines += [
        f"best {metric} {results.value(best):.4f} (trial {best.id}); median trial {float(np.median(values)):.4f}",
        f"the presets (trial 0000): {defaults}",
        f"raw pixels on the same images: {metric} {floor[metric.removeprefix('val/')]:.4f}",
        f"{states['finished']} trials finished, {states['stopped']} stopped early; "
        f"{sum(len(trial.reports) for trial in results.trials)} epochs of {plan.trials * plan.epochs}",
        "a best validation value is chosen from many and flatters: confirm it over fresh seeds before you trust it",
        "",
        "repeat the best trial alone:",
        f"  {results.command(best, '.venv/bin/roadmap-train')}",
        "look at every trial in MLflow:",
        f"  .venv/bin/roadmap-tune ui {file}",
    ]
    return lines


def pixel_floor(plan: Plan) -> dict[str, float]:
    """The metrics of raw pixels on the images that the trials are validated on, their mean over folds."""
    found = []
    for split in validations(plan.base, build_dataset(plan.base).train()):
        pixels = pixel_embeddings(same_size(split.query))
        found.append(retrieval_metrics(pixels, split.query.labels, ks=plan.base.dataset.ks))
    return {name: float(np.mean([metrics[name] for metrics in found])) for name in found[0]}


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trial(results: Results, number: int) -> Trial:
    return next(trial for trial in results.trials if trial.number == number)
