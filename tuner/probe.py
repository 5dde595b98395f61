"""Whether the trials that share a GPU fit on it: how many by their shares, and how much by one batch that is measured.

A share (resources.gpu below 1) is Ray's bookkeeping; nothing keeps a trial inside it. So before a launch one batch of
the base experiment is trained in a child process and its peak, times the trials of a card, is held against the card.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from trainables.errors import UserError
from trainables.experiment import Experiment
from tuner.schema import Resources
from tuner.sweep import Sweep

GIB = 2**30


class NoRoom(UserError):
    """This machine has too few cores or GPUs for the sweep; another one may have them."""


@dataclass(frozen=True)
class Memory:
    """Bytes: what one batch takes at its peak, what the card has."""

    peak: int
    card: int


Measure = Callable[[Experiment], Memory]


def trials_per_card(share: float) -> int:
    """How many trials with this share of a GPU Ray puts on one; 1 for whole ones."""
    return math.floor(1 / share + 1e-9) if share < 1 else 1


def check_share(share: float) -> None:
    """UserError for 1.5 GPUs."""
    if share > 1 and not share.is_integer():
        raise UserError(f"resources.gpu={share:g}: a share of one GPU, such as 0.5, or whole ones")


def check_shares(resources: Resources, concurrent: int, cards: int) -> None:
    """NoRoom where so many trials at a time find no room on this machine's GPUs; UserError for an odd share."""
    share, workers = resources.gpu, resources.workers
    if share == 0:
        return
    together = f" with resources.workers={workers}" if workers > 1 else ""
    check_share(share)
    if share * workers > cards:
        raise NoRoom(f"resources.gpu={share:g} a trial{together}, this machine has {cards}")
    places = cards * trials_per_card(share) if share < 1 else cards // math.ceil(share * workers)
    if concurrent > places:
        raise NoRoom(
            f"budget.concurrent={concurrent} trials of resources.gpu={share:g}{together}: this machine's {cards} "
            f"{'GPU has' if cards == 1 else 'GPUs have'} room for {places}: --set budget.concurrent={places}"
        )


def check_memory(sweep: Sweep, base: Experiment, measure: "Measure | None" = None) -> None:
    """UserError where the trials of one card need more than it has. Trains one batch on it.

    Workers of one trial have a card each and a share of the batch: nothing to compare.
    """
    resources = sweep.resources
    if resources.gpu == 0 or resources.workers > 1:
        return
    memory = (measure or in_a_child)(base)
    beside = min(trials_per_card(resources.gpu), sweep.budget.concurrent)
    if memory.peak * beside <= memory.card:
        return
    fit = memory.card // memory.peak
    if fit == 0:
        advice = "a smaller dataset.sampler.kwargs.batch_size or experience.sub_batch"
    else:
        advice = f"--set resources.gpu={_share(fit):g}"
    raise UserError(
        f"resources.gpu={resources.gpu:g}: {beside} trials of {memory.peak / GIB:.1f} GiB at the peak of a batch need "
        f"{memory.peak * beside / GIB:.1f} GiB, the card has {memory.card / GIB:.1f}: {advice}"
    )


def in_a_child(experiment: Experiment) -> Memory:
    """Measured in a process that is gone afterwards. UserError in one line where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "trainables.memory_probe"],
        input=experiment.model_dump_json(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"one batch of the base experiment could not be trained: {said[-1]}")
    return Memory(**json.loads(done.stdout.splitlines()[-1]))


def _share(trials: int) -> float:
    """The shortest decimal of which Ray puts so many on a card."""
    digits = next(digits for digits in range(1, 17) if trials_per_card(_cut(1 / trials, digits)) == trials)
    return _cut(1 / trials, digits)


def _cut(value: float, digits: int) -> float:
    return max(math.floor(value * 10**digits + 1e-9) / 10**digits, 1e-16)
