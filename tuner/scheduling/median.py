"""Median stopping: Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (2017), section 3.2.2."""

import math
from collections import defaultdict

import numpy as np

from tuner.scheduling.rule import BASELINE, Rule, Verdict

ENOUGH = 3  # trials to compare with, below which their median says too little


class MedianStopping(Rule):
    """A trial is stopped when its best value so far is worse than the median of the others' running averages.

    The others: those that have reported the same epoch, each with the mean of its values up to that epoch. From epoch
    `grace` on, once there are three others; trial 0 is never stopped.
    """

    def __init__(self, mode: str, epochs: int, *, grace: int) -> None:
        super().__init__(mode, epochs)
        self._grace = grace
        self._merits: defaultdict[int, dict[int, float]] = defaultdict(dict)  # number -> epoch -> merit

    def _judge(self, number: int, epoch: int, merit: float) -> Verdict:
        own = self._merits[number]
        own[epoch] = merit
        averages = [
            average
            for other, merits in self._merits.items()
            if other != number and (average := _average(merits, epoch)) is not None
        ]
        if number == BASELINE or epoch < self._grace or len(averages) < ENOUGH:
            return Verdict.CONTINUE
        best = max(value for at, value in own.items() if at <= epoch)
        cutoff = float(np.median(averages))
        if best >= cutoff:
            return Verdict.CONTINUE
        self.reasons[number] = f"median: epoch {epoch}, best {self._worse(best, cutoff)}"
        return Verdict.STOP

    def _gone(self, number: int) -> None:
        """Its averages go on to count."""


def _average(merits: dict[int, float], epoch: int) -> float | None:
    """The mean of the values up to the epoch; None of a trial that has not come so far, or has no numbers."""
    values = [value for at, value in merits.items() if at <= epoch and math.isfinite(value)]
    return float(np.mean(values)) if values and epoch <= max(merits) else None
