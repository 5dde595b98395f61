"""What a sweep will cost: epochs, hours, GPU hours, disk. Numbers alone; check.py writes them out."""

import math
from dataclasses import dataclass

from trainables.probe import Cost
from tuner.plan import Plan
from tuner.scheduling import rungs

KEPT = 2  # checkpoints of a trial: its best and its last


@dataclass(frozen=True)
class Forecast:
    """Of a whole sweep, on this machine."""

    epochs: int  # at most
    expected: float | None  # epochs that are run with the scheduler; None: it cannot be said beforehand
    hours: float  # of the epochs that are expected, else of all
    gpu_hours: float
    disk: int  # bytes of checkpoints


def forecast(plan: Plan, cost: Cost) -> Forecast:
    """cost: of one training in one process. Several workers are taken to share its batches without loss."""
    sweep = plan.sweep
    trainings = sweep.validation.folds if sweep.validation.protocol == "kfold" else 1
    expected = expected_epochs(plan)
    epochs = plan.trials * plan.epochs if expected is None else expected
    workers = sweep.resources.workers
    seconds = epochs * trainings * cost.epoch_s / workers
    hours = seconds / min(sweep.budget.concurrent, plan.trials) / 3600
    return Forecast(
        epochs=plan.trials * plan.epochs,
        expected=expected,
        hours=hours,
        gpu_hours=seconds * workers * sweep.resources.gpu / 3600,
        disk=plan.trials * KEPT * trainings * cost.checkpoint_bytes,
    )


def expected_epochs(plan: Plan) -> float | None:
    """Of all trials under the scheduler, were each trial's place among those at a rung as likely as any other.

    None for schedulers whose decisions depend on the curves themselves.
    """
    scheduler = plan.sweep.scheduler
    if scheduler.name in ("none", "pbt"):
        return float(plan.trials * plan.epochs)
    if scheduler.name != "asha":
        return None
    whole = rungs(plan.sweep, plan.epochs)
    brackets = [whole[first:] for first in range(scheduler.brackets)]
    # as often as ASHA draws them
    weights = [math.exp(len(bracket)) for bracket in brackets]
    return sum(
        halved_epochs(bracket, scheduler.reduction, plan.epochs, plan.trials * weight / sum(weights))
        for bracket, weight in zip(brackets, weights, strict=True)
    )


def halved_epochs(compared: list[int], reduction: float, epochs: int, trials: float) -> float:
    """Epochs of one bracket: all trials to its first rung, those that pass on to the next."""
    total, before = 0.0, 0
    for rung in compared:
        total += trials * (rung - before)
        trials, before = passing(trials, reduction), rung
    return total + trials * (epochs - before)


def passing(arrivals: float, reduction: float) -> float:
    """How many of those that come to a rung one after another go on, in expectation.

    The n-th is stopped when it is below the (1 - 1/reduction) quantile of the n - 1 before it, interpolated: with each
    of its n places equally likely, with probability ((n - 2) (1 - 1/reduction) + 1) / n. The first one passes.
    """
    whole = int(arrivals)
    passed = sum(_passes(place, reduction) for place in range(1, whole + 1))
    return passed + (arrivals - whole) * _passes(whole + 1, reduction)


def _passes(place: int, reduction: float) -> float:
    return 1.0 if place == 1 else 1 - ((place - 2) * (1 - 1 / reduction) + 1) / place
