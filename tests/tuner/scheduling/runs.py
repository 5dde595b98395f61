"""A rule driven by recorded curves, the way a launch does it: slots, paused trials first, then new ones."""

import math

import numpy as np

from tuner.journal import Trial
from tuner.scheduling import Rule, Verdict

METRIC = "val/map_at_r"


def curves(count: int, epochs: int, seed: int = 0) -> np.ndarray:
    """(count, epochs) rising curves that cross one another."""
    generator = np.random.default_rng(seed)
    rate, top = generator.uniform(0.1, 1.0, (2, count, 1))
    return top * (1 - np.exp(-rate * np.arange(1, epochs + 1))) + generator.normal(0, 0.02, (count, epochs))


class Launch:
    """Trials in slots; which slot reports next is drawn. `trials` is what a journal would say."""

    def __init__(self, rule: Rule, curves: np.ndarray, slots: int, seed: int = 0) -> None:
        self.rule, self._curves, self._slots = rule, curves, slots
        self._generator = np.random.default_rng(seed)
        self.trials: dict[int, Trial] = {}
        self.running: list[int] = []
        self.clock = 0.0

    def resume(self, rule: Rule) -> None:
        """Another driver, which knows what the journal says."""
        self.rule = rule
        rule.replay(self.trials.values(), METRIC)
        self._settle_dropped()
        waiting = {*rule.paused, *rule.resumable}
        self.running = [number for number in self.running if not self.trials[number].ended and number not in waiting]

    def run(self, steps: float = math.inf) -> None:
        """Until every trial has ended, or for so many reports."""
        while steps > 0 and self._fill():
            steps -= 1
            self._report(self.running[int(self._generator.integers(len(self.running)))])

    def epochs(self) -> list[int]:
        """How many epochs each trial ran."""
        return [len(self.trials[number].reports) for number in range(len(self._curves))]

    def _fill(self) -> bool:
        while len(self.running) < self._slots:
            if self.rule.resumable:
                self.running.append(self.rule.resumable.pop(0))
            elif len(self.trials) < len(self._curves):
                number = len(self.trials)
                self.trials[number] = Trial(number, {})
                self.running.append(number)
            else:
                break
        return bool(self.running)

    def _report(self, number: int) -> None:
        trial = self.trials[number]
        epoch = len(trial.reports) + 1
        self.clock += 1
        value = float(self._curves[number, epoch - 1])
        trial.reports[epoch], trial.reported_at[epoch] = {METRIC: value}, self.clock
        trial.state = "running"
        verdict = self.rule.report(number, epoch, value)
        if verdict is Verdict.STOP:
            self._end(trial, "stopped")
        elif epoch == self._curves.shape[1]:
            self._end(trial, "finished")
        if verdict is not Verdict.CONTINUE or trial.ended:
            self.running.remove(number)
        self._settle_dropped()

    def _settle_dropped(self) -> None:
        for number in list(self.rule.dropped):
            self._end(self.trials[number], "stopped")

    def _end(self, trial: Trial, state: str) -> None:
        trial.state, trial.reason = state, self.rule.reasons.get(trial.number, "")
        self.rule.ended(trial.number)
