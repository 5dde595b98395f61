"""Population based training: Jaderberg et al., "Population Based Training of Neural Networks" (2017)."""

import math

import numpy as np

from tuner.scheduling.rule import BASELINE, Exchange, Rule, Verdict


class PBT(Rule):
    """Every `interval` epochs the worst trials go on from the weights of the best, with other settings.

    All trials of the sweep are the population. At an exchange each waits, paused, until every one that has not ended
    has come; so fewer slots than trials give the same exchanges. Then those of the bottom `quantile` of all that came
    copy one of the top `quantile` each, drawn by seed, trial number and epoch, unless it is no better. The quantile is
    rounded up and is at most half, as Ray's is. Trial 0 waits and may be copied, and copies nobody.
    """

    def __init__(self, mode: str, epochs: int, *, interval: int, quantile: float, trials: int, seed: int) -> None:
        super().__init__(mode, epochs)
        self._interval, self._quantile, self._seed = interval, quantile, seed
        self._merits: dict[int, dict[int, float]] = {epoch: {} for epoch in range(interval, epochs, interval)}
        self._left = set(range(trials))
        self._population = frozenset(self._left)
        self._next = interval  # the first epoch whose exchange has not been

    def _judge(self, number: int, epoch: int, merit: float) -> Verdict:
        if epoch not in self._merits or epoch < self._next or number not in self._population:
            return Verdict.CONTINUE
        self._merits[epoch][number] = merit
        self.paused.add(number)
        self._decide()
        return Verdict.PAUSE

    def _gone(self, number: int) -> None:
        self._left.discard(number)
        self._decide()

    def _decide(self) -> None:
        """The exchange for which all have come; those that left meanwhile may have been the last to wait for."""
        merits = self._merits.get(self._next)
        if merits is None or not merits or not self._left <= merits.keys():
            return
        self.exchanges += self._exchanges(self._next, merits)
        self.resumable += sorted(self.paused)
        self.paused.clear()
        self._next += self._interval

    def _exchanges(self, epoch: int, merits: dict[int, float]) -> list[Exchange]:
        ranked = sorted(merits, key=lambda number: (-merits[number], number))
        count = min(math.ceil(len(ranked) * self._quantile - 1e-9), len(ranked) // 2)
        found = []
        for number in ranked[len(ranked) - count :]:
            generator = np.random.default_rng([self._seed, number, epoch])
            donor = ranked[int(generator.integers(count))]
            if number != BASELINE and merits[number] < merits[donor]:
                found.append(Exchange(number, epoch, donor))
        return found
