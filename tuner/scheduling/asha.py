"""ASHA in its stopping form: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020), algorithm 2."""

import math
from collections import defaultdict

import numpy as np

from tuner.scheduling.rule import BASELINE, Rule, Verdict


class ASHA(Rule):
    """At a rung a trial is stopped when it is worse than the (1 - 1/reduction) quantile of those who came before it.

    The first one at a rung always passes, and trial 0 at every rung. Decisions and numbers are those of Ray's
    AsyncHyperBandScheduler; unlike it, a value that is no number is the worst, and brackets are drawn by seed.
    """

    def __init__(
        self, mode: str, epochs: int, *, grace: int, reduction: float, brackets: int = 1, seed: int = 0
    ) -> None:
        super().__init__(mode, epochs)
        self._reduction, self._seed = reduction, seed
        # bracket b begins b rungs later
        self._rungs = [geometric(grace, reduction, epochs)[bracket:] for bracket in range(brackets)]
        self._merits: defaultdict[tuple[int, int], dict[int, float]] = defaultdict(dict)  # of (bracket, rung)

    def bracket(self, number: int) -> int:
        """Which rungs the trial has: long brackets as often as Ray's rule makes them, by seed and trial number."""
        if len(self._rungs) == 1:
            return 0
        sizes = np.array([len(rungs) for rungs in self._rungs])
        weights = np.exp(sizes - sizes.max())
        generator = np.random.default_rng([self._seed, number])
        return int(generator.choice(len(self._rungs), p=weights / weights.sum()))

    def _judge(self, number: int, epoch: int, merit: float) -> Verdict:
        bracket = self.bracket(number)
        reached = [rung for rung in self._rungs[bracket] if rung <= epoch]
        rung = next((rung for rung in reversed(reached) if number not in self._merits[bracket, rung]), None)
        if rung is None:
            return Verdict.CONTINUE
        before = [other for other in self._merits[bracket, rung].values() if math.isfinite(other)]
        self._merits[bracket, rung][number] = merit
        if number == BASELINE or not before:
            return Verdict.CONTINUE
        cutoff = float(np.percentile(before, (1 - 1 / self._reduction) * 100))
        if merit >= cutoff:
            return Verdict.CONTINUE
        self.reasons[number] = f"asha: rung {rung}, {self._worse(merit, cutoff)}"
        return Verdict.STOP

    def _gone(self, number: int) -> None:
        """It keeps its place in the rungs."""


def geometric(grace: int, reduction: float, epochs: int) -> list[int]:
    """The epochs at which trials are compared: grace x reduction^k, rounded up, below the last epoch."""
    found = []
    rung = float(grace)
    while rung < epochs:
        found.append(math.ceil(rung))
        rung *= reduction
    return found
