"""A rule says after each report whether a trial goes on. Rules are pure: they know reports, neither Ray nor a clock."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from tuner.journal import Trial

BASELINE = 0  # what the winner is compared with: its values count in every comparison and it runs to its end


class Verdict(Enum):
    """What becomes of a trial after a report. A paused one leaves its slot and may go on from its checkpoint."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Exchange(NamedTuple):
    """After this epoch the trial goes on from the donor's weights of it, with settings that come from the donor's."""

    number: int
    epoch: int
    donor: int


class Rule(ABC):
    """State that follows from the reports in the order in which they came, and from nothing else.

    reasons:   number -> why the rule stopped the trial, with rung, value and cutoff.
    paused:    trials that wait until the rule can compare them.
    resumable: trials that were paused and shall go on, the first one first; who starts one takes it out.
    dropped:   trials that are stopped without a report of their own; who tells of one takes it out.
    exchanges: decided and not yet told of; who tells of one takes it out.
    """

    def __init__(self, mode: str, epochs: int) -> None:
        self._sign = 1.0 if mode == "max" else -1.0
        self._epochs = epochs
        self.reasons: dict[int, str] = {}
        self.paused: set[int] = set()
        self.resumable: list[int] = []
        self.dropped: list[int] = []
        self.exchanges: list[Exchange] = []

    @abstractmethod
    def _judge(self, number: int, epoch: int, merit: float) -> Verdict:
        """merit: the value, larger is better; -inf where it is not a number. Before the last epoch."""

    @abstractmethod
    def _gone(self, number: int) -> None:
        """The trial reports nothing more."""

    def report(self, number: int, epoch: int, value: float) -> Verdict:
        """The verdict on one report of the objective. A trial in its last epoch ends by itself."""
        if epoch >= self._epochs:
            return Verdict.CONTINUE
        return self._judge(number, epoch, self._sign * value if math.isfinite(value) else -math.inf)

    def ended(self, number: int) -> None:
        """The trial is over, for whatever cause: nobody waits for it any longer."""
        self._waits_no_more(number)
        self._gone(number)

    def replay(self, trials: Iterable[Trial], metric: str) -> None:
        """Brings the rule to where an earlier launch of the sweep left it; `trials` as its journal has them.

        What was decided and not written before the driver was killed is decided again: such a trial is in `dropped`.
        """
        known = {trial.number: trial for trial in trials}
        for trial in known.values():
            if trial.ended and not trial.reports:
                self.ended(trial.number)
        for number, epoch in _in_order(known.values()):
            self._waits_no_more(number)  # it reports again, so it went on
            trial = known[number]
            verdict = self.report(number, epoch, trial.reports[epoch].get(metric, math.nan))
            if epoch == max(trial.reports):
                if trial.ended:
                    self.ended(number)
                elif verdict is Verdict.STOP:
                    self.dropped.append(number)
        self.reasons = {number: reason for number, reason in self.reasons.items() if number in self.dropped}

    def _waits_no_more(self, number: int) -> None:
        self.paused.discard(number)
        for waiting in (self.resumable, self.dropped):
            if number in waiting:
                waiting.remove(number)

    def _worse(self, merit: float, cutoff: float) -> str:
        """ "0.1735 < 0.2131", in the objective's own sign."""
        if merit == -math.inf:
            return f"not a number, {self._sign * cutoff:.4f} wanted"
        return f"{self._sign * merit:.4f} {'<' if self._sign > 0 else '>'} {self._sign * cutoff:.4f}"


class EveryEpoch(Rule):
    """No trial is stopped."""

    def _judge(self, number: int, epoch: int, merit: float) -> Verdict:
        return Verdict.CONTINUE

    def _gone(self, number: int) -> None:
        """Nobody waits."""


def _in_order(trials: Iterable[Trial]) -> Iterator[tuple[int, int]]:
    """(number, epoch) of every report, as they happened."""
    happened = sorted((trial.reported_at[epoch], trial.number, epoch) for trial in trials for epoch in trial.reports)
    return ((number, epoch) for _, number, epoch in happened)
