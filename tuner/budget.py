"""What a sweep may use: hours and GPU hours over all its launches, and room on the disk."""

import math
import shutil

from trainables.errors import UserError
from tuner.journal import Journal, Launch
from tuner.sweep import Sweep


def check(sweep: Sweep) -> None:
    """UserError for a budget that nothing can use up."""
    if sweep.budget.gpu_hours is not None and not sweep.resources.gpu:
        raise UserError(f"budget.gpu_hours={sweep.budget.gpu_hours:g}: trials of resources.gpu=0 use none")


def hours(journal: Journal, now: float | None = None) -> float:
    """Of all launches; the last one runs until `now` (unix seconds), None: until its last event."""
    return sum(_seconds(launch, now if launch is journal.launches[-1] else None) for launch in journal.launches) / 3600


def gpu_hours(journal: Journal, sweep: Sweep, now: float | None = None) -> float:
    """Time that workers had trials, by the GPUs of a trial; running ones have them until `now`."""
    seconds = sum(
        trial.occupied_s + (0.0 if now is None or trial.since is None else now - trial.since)
        for trial in journal.trials.values()
    )
    return seconds / 3600 * sweep.resources.gpu * sweep.resources.workers


def exhausted(journal: Journal, sweep: Sweep, now: float | None = None) -> str:
    """Which part of the budget is used up, in words; "" where none is."""
    for key, used in (("hours", hours(journal, now)), ("gpu_hours", gpu_hours(journal, sweep, now))):
        limit = limited(journal, sweep, key)
        if used >= limit:
            return f"budget.{key}={limit:g} are used up"
    return ""


def limited(journal: Journal, sweep: Sweep, key: str) -> float:
    """The sweep's hours or gpu_hours with what `extend` added; infinite where the file sets none."""
    written = getattr(sweep.budget, key)
    return math.inf if written is None else float(written) + journal.extension.get(key, 0.0)


def short_of_disk(sweep: Sweep) -> str:
    """Why no trial can start on what is free of the disk; "" where one can."""
    free = shutil.disk_usage(sweep.folder).free / 1e9
    if free >= sweep.budget.free_gb:
        return ""
    return f"{free:.1f} GB are free in {sweep.folder}, budget.free_gb={sweep.budget.free_gb:g} are to stay so"


def _seconds(launch: Launch, now: float | None) -> float:
    return (launch.last if now is None or launch.state else now) - launch.began
