"""What the commands print: the plan before, the ranking and what follows from it after."""

import math

import numpy as np

from trainables.building import build_dataset
from trainables.data import same_size
from trainables.evaluation import pixel_embeddings, retrieval_metrics
from trainables.splitting import train_and_validation
from tuner.journal import ENDED, Trial
from tuner.overview import ranking, troubles
from tuner.plan import Plan
from tuner.results import Results


def plan_lines(plan: Plan) -> list[str]:
    """Everything that is known before launch."""
    sweep = plan.sweep
    lines = [f"{sweep.name}: {sweep.goal}"]
    lines.append(f"{plan.trials} trials of at most {plan.epochs} epochs, {sweep.search.sampler}, "
                 f"{sweep.scheduler.name}, {sweep.budget.concurrent} at a time")  # fmt: skip
    lines.append(f"objective {sweep.objective.metric} ({sweep.objective.mode}) on {sweep.validation.fraction:g} "
                 "of the train classes, held out")  # fmt: skip
    for key, distribution in sweep.distributions.items():
        lines.append(f"  {key}: {distribution}, preset {plan.defaults[key]}")
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return [*lines, "every part composes; nothing was launched"]


def closing_lines(plan: Plan, results: Results, file: str) -> list[str]:
    """The ranking, where the defaults stand, the floor, how to repeat the winner, how to look further."""
    best = results.best
    lines = ["", *ranking(results), *troubles(results, plan.sweep.folder), ""]
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
    floor = pixel_floor(plan)
    lines += [
        f"best {metric} {results.value(best):.4f} (trial {best.id}); median trial {float(np.median(values)):.4f}",
        f"the presets (trial 0000): {defaults}",
        f"raw pixels on the same images: {metric} {floor[metric.removeprefix('val/')]:.4f}",
        f"{', '.join(f'{count} trials {state}' for state, count in states.items() if count)}; "
        f"{sum(len(trial.reports) for trial in results.trials)} epochs of {plan.trials * plan.epochs}",
        "a best validation value is chosen from many and flatters: confirm it over fresh seeds before you trust it",
        "",
        "repeat the best trial alone:",
        f"  .venv/bin/{results.command(best)}",
        "look at every trial in MLflow:",
        f"  .venv/bin/roadmap-tune ui {file}",
    ]
    return lines


def pixel_floor(plan: Plan) -> dict[str, float]:
    """The metrics of raw pixels on the images that the trials are validated on."""
    _, split = train_and_validation(plan.base, build_dataset(plan.base).train())
    assert split is not None, "a sweep always validates"
    pixels = pixel_embeddings(same_size(split.query))
    return retrieval_metrics(pixels, split.query.labels, ks=plan.base.dataset.ks)


def _trial(results: Results, number: int) -> Trial:
    return next(trial for trial in results.trials if trial.number == number)
