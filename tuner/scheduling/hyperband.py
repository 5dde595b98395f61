"""HyperBand: Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization" (2018).

Algorithm 1, with `grace` as the least that a trial gets.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

from tuner.scheduling.rule import BASELINE, Rule, Verdict


@dataclass
class Bracket:
    """One successive halving. cohorts[i]: who is compared at rungs[i], the later ones known when it is decided."""

    rungs: tuple[int, ...]
    cohorts: list[frozenset[int]]
    merits: list[dict[int, float]] = field(init=False)  # at each rung: number -> merit of those who came

    def __post_init__(self) -> None:
        self.merits = [{} for _ in self.rungs]


class HyperBand(Rule):
    """Brackets of trials, filled by number; at a rung each waits, paused, until the bracket's cohort has come.

    Then the best 1/reduction of the cohort go on and the others are stopped. A trial that ended before the rung has
    come with the worst value there is. Trial 0 counts and never waits. The last bracket may be short of trials: its
    cohort is those that the sweep plans. Trials that are added while it runs have no bracket before the next launch.
    """

    def __init__(self, mode: str, epochs: int, *, grace: int, reduction: float, trials: int) -> None:
        super().__init__(mode, epochs)
        self._reduction = reduction
        self._brackets = list(_brackets(grace, reduction, epochs, trials))
        self._of = {number: bracket for bracket in self._brackets for number in bracket.cohorts[0]}

    def _judge(self, number: int, epoch: int, merit: float) -> Verdict:
        bracket = self._of.get(number)
        if bracket is None:
            return Verdict.CONTINUE
        level = next((i for i, merits in enumerate(bracket.merits) if number not in merits), None)
        if level is None or epoch < bracket.rungs[level]:
            return Verdict.CONTINUE
        bracket.merits[level][number] = merit
        if number != BASELINE:
            self.paused.add(number)
        self._decide(bracket)
        if number in self.dropped:
            self.dropped.remove(number)
            return Verdict.STOP
        if number in self.resumable:
            self.resumable.remove(number)
        return Verdict.PAUSE if number in self.paused else Verdict.CONTINUE

    def _gone(self, number: int) -> None:
        bracket = self._of.get(number)
        if bracket is None:
            return
        for merits in bracket.merits:
            merits.setdefault(number, -math.inf)
        self._decide(bracket)

    def _decide(self, bracket: Bracket) -> None:
        """Compares the newest cohort once all of it has come, and the next one where that has come already."""
        level = len(bracket.cohorts) - 1
        while level < len(bracket.rungs) and bracket.cohorts[level] <= bracket.merits[level].keys():
            bracket.cohorts.append(self._survivors(bracket, level))
            level += 1

    def _survivors(self, bracket: Bracket, level: int) -> frozenset[int]:
        merits, cohort = bracket.merits[level], bracket.cohorts[level]
        keep = max(1, math.floor(len(cohort) / self._reduction + 1e-9))
        ranked = sorted(cohort, key=lambda number: (-merits[number], number))
        cutoff = merits[ranked[keep - 1]]
        for place, number in enumerate(ranked):
            if number not in self.paused:
                continue
            self.paused.remove(number)
            if place < keep:
                self.resumable.append(number)
            else:
                self.dropped.append(number)
                why = self._worse(merits[number], cutoff)
                self.reasons[number] = f"hyperband: rung {bracket.rungs[level]}, {why}, {keep} of {len(cohort)} go on"
        return frozenset(ranked[:keep])


def rungs(grace: int, reduction: float, epochs: int) -> list[int]:
    """The epochs at which some bracket compares: epochs / reduction^i, rounded up, from grace to below the last."""
    return list(_rungs(_halvings(grace, reduction, epochs), reduction, epochs))


def _halvings(grace: int, reduction: float, epochs: int) -> int:
    """s_max: how often a trial of the most eager bracket is compared."""
    return math.floor(math.log(epochs / grace) / math.log(reduction) + 1e-9)


def _rungs(halvings: int, reduction: float, epochs: int) -> tuple[int, ...]:
    """r_i of a bracket, but the last epoch: there is nothing to decide."""
    exact = (epochs / reduction**power for power in range(halvings, 0, -1))
    return tuple(dict.fromkeys(math.ceil(epoch - 1e-9) for epoch in exact))


def _brackets(grace: int, reduction: float, epochs: int, trials: int) -> Iterator[Bracket]:
    """The brackets s = s_max, ..., 0 again and again, each with its n trials, until every trial has one."""
    most = _halvings(grace, reduction, epochs)
    first = 0
    for halvings in cycle(range(most, -1, -1)):
        size = math.ceil((most + 1) / (halvings + 1) * reduction**halvings - 1e-9)
        yield Bracket(_rungs(halvings, reduction, epochs), [frozenset(range(first, min(first + size, trials)))])
        first += size
        if first >= trials:
            return
