"""A schedule: settings that change at given epochs of one training, as population based training found them.

    [{"epoch": 1, "overrides": ["optimizer.fc.lr=0.01"]}, {"epoch": 5, "overrides": ["optimizer.fc.lr=0.008"]}]

At each change the training is built anew with the settings of the stage and goes on from its own checkpoint, which is
what the trials of a sweep do, so that both give the same bits.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError

from trainables.composition import compose
from trainables.difference import difference
from trainables.errors import UserError
from trainables.experiment import Experiment


class Stage(BaseModel):
    """The overrides with which the epochs from `epoch` on (counted from 1) are trained, up to the next stage's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    epoch: PositiveInt
    overrides: Annotated[tuple[str, ...], Field(strict=False)]


STAGES = TypeAdapter(Annotated[tuple[Stage, ...], Field(min_length=1, strict=False)])
Schedule = list[tuple[int, Experiment]]
"""(first epoch, experiment) of each stage, in order."""


def read(path: Path) -> tuple[Stage, ...]:
    """The stages in a file; UserError where it is none, or they do not begin with epoch 1 and rise."""
    try:
        stages = STAGES.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"--schedule: {path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"--schedule: {path} is no schedule: {place} {first['msg']}") from None
    epochs = [stage.epoch for stage in stages]
    if epochs[0] != 1 or any(later <= before for before, later in pairwise(epochs)):
        raise UserError(f"--schedule: the epochs of {path} must begin with 1 and rise, not {epochs}")
    return stages


def composed(stages: Sequence[Stage], overrides: Sequence[str] = ()) -> Schedule:
    """Every stage's Experiment; the overrides come first. UserError where one changes what a training cannot change."""
    found: Schedule = []
    for stage in stages:
        experiment = compose([*overrides, *stage.overrides])
        phrase = difference(found[-1][1], experiment, scheduled=True) if found else None
        if phrase is not None:
            raise UserError(f"--schedule: at epoch {stage.epoch} {phrase}: a training cannot change that")
        found.append((stage.epoch, experiment))
    return found


def left(schedule: Schedule, done: int) -> list[tuple[int, Experiment, int]]:
    """(first epoch, experiment, last epoch) of the stages with epochs after `done`; of a whole training the last."""
    epochs = schedule[0][1].experience.max_iter
    begun = [(first, experiment) for first, experiment in schedule if first <= epochs]
    ends = [first - 1 for first, _ in begun[1:]] + [epochs]
    stages = [(first, experiment, end) for (first, experiment), end in zip(begun, ends, strict=True)]
    return [stage for stage in stages if stage[2] > done] or stages[-1:]
