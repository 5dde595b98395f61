"""Where a trial's weights come from once trials have copied each other, and the one training that repeats them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trainables import bucket
from tuner import space
from tuner.journal import Trial
from tuner.schema import Objective
from tuner.space import Point


class Part(NamedTuple):
    """Epochs first ... last (counted from 1) of a lineage: who trained them, and with which point."""

    first: int
    last: int
    trial: int
    point: Point


class Start(NamedTuple):
    """The folder of a checkpoint, None: from scratch. changes: it was trained with other settings."""

    folder: str | None
    changes: bool


def lineage(trials: Mapping[int, Trial], number: int, epoch: int) -> list[Part]:
    """The parts of the one training whose last epoch is the trial's `epoch`, through the donors from epoch 1 on."""
    trial = trials[number]
    changes = [change for change in trial.schedule if change.epoch < epoch]
    if not changes:
        return [Part(1, epoch, number, trial.point)]
    last = changes[-1]
    return [*lineage(trials, last.donor, last.epoch), Part(last.epoch + 1, epoch, number, last.point)]


def schedule(trials: Mapping[int, Trial], trial: Trial, objective: Objective) -> str:
    """What `roadmap-train --schedule` reads: the lineage of the trial's best epoch, before one the trial's own."""
    best = trial.best(objective.metric, objective.mode)
    parts = lineage(trials, trial.number, 1 if best is None else best[0])
    stages = [{"epoch": part.first, "overrides": space.overrides(part.point)} for part in parts]
    return json.dumps(stages, indent=1) + "\n"


def schedule_file(folder: Path, number: int) -> Path:
    """Where a trial's schedule lies, in a sweep by pbt."""
    return folder / f"trial-{number:04d}.schedule.json"


def start_of(trial: Trial, trials: Mapping[int, Trial]) -> Start | None:
    """From where the trial goes on; None where the checkpoint that it is to copy is not there."""
    copied = trial.schedule[-1] if trial.schedule else None
    for epoch in sorted(trial.checkpoints, reverse=True):
        if (copied is None or epoch > copied.epoch) and bucket.exists(trial.checkpoints[epoch]):
            return Start(trial.checkpoints[epoch], False)
    if copied is None:
        return Start(None, False)
    folder = trials[copied.donor].checkpoints.get(copied.epoch)
    return Start(folder, True) if folder is not None and bucket.exists(folder) else None


def awaited(trials: Mapping[int, Trial], number: int) -> set[int]:
    """The epochs of the trial's checkpoints that others have yet to copy: until they have one of their own after it."""
    found = set()
    for trial in trials.values():
        if trial.schedule and not trial.ended:
            copied = trial.schedule[-1]
            if copied.donor == number and max(trial.checkpoints, default=0) <= copied.epoch:
                found.add(copied.epoch)
    return found
