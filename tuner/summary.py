"""What the commands print after a launch: the ranking and what follows from it."""

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainables.building import build_dataset
from trainables.data import same_size
from trainables.evaluation import pixel_embeddings, retrieval_metrics
from trainables.experiment import Experiment
from trainables.splitting import validations
from tuner.journal import BROKEN, ENDED, Trial
from tuner.overview import ranking, troubles
from tuner.plan import Plan
from tuner.results import Results

if TYPE_CHECKING:
    from tuner.runner import Outcome

FINISHED, FAILED, INTERRUPTED = 0, 1, 130


def closing_lines(
    plan: Plan, results: Results, file: str, floor: Mapping[str, float], width: int | None = None
) -> list[str]:
    """The ranking, where the defaults stand, the floor, how to repeat the winner, how to look further.

    floor: `pixel_floor`'s. width: of the terminal, to which the ranking is fitted.
    """
    best = results.best
    lines = ["", *ranking(results, width=width), *troubles(results, plan.sweep.folder), ""]
    if best is None:
        return [*lines, "no trial has a value yet"]
    metric = plan.sweep.objective.metric
    values = [results.value(trial) for trial in results.trials if not math.isnan(results.value(trial))]
    states = {state: sum(trial.state == state for trial in results.trials) for state in ENDED}
    place = results.place(0)
    defaults = (
        "no value"
        if place is None
        else f"{results.value(_trial(results, 0)):.4f}, place {place} of {len(results.trials)}"
    )
    said = [
        f"best {metric} {results.value(best):.4f} (trial {best.id}); median trial {float(np.median(values)):.4f}",
        f"the presets (trial 0000): {defaults}",
        f"raw pixels on the same images: {metric} {floor[metric.removeprefix('val/')]:.4f}",
        f"{', '.join(f'{count} trials {state}' for state, count in states.items() if count)}; "
        f"{sum(len(trial.reports) for trial in results.trials)} epochs of {plan.trials * plan.epochs}",
        "a best validation value is chosen from many and flatters: confirm it over fresh seeds before you trust it",
    ]
    return [
        *lines,
        *(part for line in said for part in (textwrap.wrap(line, width, subsequent_indent="  ") if width else [line])),
        "",
        "repeat the best trial alone:",
        f"  {results.command(best, '.venv/bin/roadmap-train')}",
        "look at every trial in MLflow:",
        f"  .venv/bin/roadmap-tune ui {file}",
    ]


def last_words(outcome: "Outcome", file: str) -> tuple[int, list[str]]:
    """The exit code, and what went wrong or was left."""
    lines, written = [], outcome.written
    if written.failed:
        later = f"`roadmap-tune track {file}` writes them later"
        lines.append(f"warning: {written.failed} writes did not reach MLflow: {written.first_error}; {later}")
    if outcome.state == "failed":
        how = f"`roadmap-tune retry {file} --{outcome.results.trials[0].state}`"
        return FAILED, [*lines, f"stopped: {outcome.reason}; fix it, then {how}"]
    if outcome.state == "stopped":
        lines.append(f"stopped: {outcome.reason}; `roadmap-tune extend {file}` adds some")
    if outcome.state == "interrupted":
        return INTERRUPTED, [*lines, f"interrupted: `roadmap-tune resume {file}` (run --resume) goes on"]
    broken = any(trial.state in BROKEN for trial in outcome.results.trials)
    return FAILED if broken else FINISHED, lines


def pixel_floor(plan: Plan) -> dict[str, float]:
    """The metrics of raw pixels on the images that the trials are validated on, their mean over folds."""
    return pixel_floor_of(plan.base)


def pixel_floor_of(experiment: Experiment) -> dict[str, float]:
    """The same for one training's validation images."""
    found = []
    for split in validations(experiment, build_dataset(experiment).train()):
        pixels = pixel_embeddings(same_size(split.query))
        found.append(retrieval_metrics(pixels, split.query.labels, ks=experiment.dataset.ks))
    return {name: float(np.mean([metrics[name] for metrics in found])) for name in found[0]}


def _trial(results: Results, number: int) -> Trial:
    return next(trial for trial in results.trials if trial.number == number)
