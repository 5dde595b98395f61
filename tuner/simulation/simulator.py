"""A sweep on recorded curves: the real sampler and the real rule, and epochs that cost no time.

Points are chosen among the recorded ones. `random` takes them in a random order; every other sampler is asked as in a
real sweep, and its point becomes the nearest recorded one that is not used yet. Trial 0 is the presets' point. Slots
are filled by simulated time: paused trials that go on first, then new ones.
"""

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.journal import Trial
from tuner.sampling import suggest
from tuner.scheduling import Verdict, make_rule
from tuner.simulation.curves import Curves
from tuner.space import Choice, Distribution, Int, Point, Uniform, Value
from tuner.sweep import Sweep

NEAR = 0.99  # of the best recorded value: when a sweep has as good as found it


@dataclass(frozen=True)
class Outcome:
    """What one simulated sweep did and found. Values are those of a trial's best epoch."""

    epochs: int
    hours: float  # of the epochs themselves, whatever ran beside them
    clock_hours: float  # until the last slot was free
    found: float
    regret: float  # what the best recorded trial has more
    epochs_to_near: float  # epochs of all trials until NEAR of the best recorded value; inf where it never came
    trials: tuple[Trial, ...]


def simulate(sweep: Sweep, curves: Curves, *, slots: int = 2, trials: int | None = None, seed: int = 0) -> Outcome:
    """One sweep over `trials` of the recorded points (all of them) with sampler and order by seed."""
    seeded = sweep.model_copy(update={"search": sweep.search.model_copy(update={"seed": seed})})
    return _Simulation(seeded, curves, slots, trials or len(curves.trials)).run()


class _Simulation:
    def __init__(self, sweep: Sweep, curves: Curves, slots: int, trials: int) -> None:
        self._sweep, self._curves, self._slots, self._planned = sweep, curves, slots, trials
        self._rule = make_rule(sweep, curves.epochs, trials)
        self._trials: dict[int, Trial] = {}
        self._record: dict[int, int] = {}  # trial -> its recorded curve
        self._events: list[tuple[float, int, int]] = []  # (when, in which order planned, trial): its next report
        self._order = 0
        self._clock = self._seconds = 0.0
        self._best, self._near = -math.inf, math.inf
        sign = 1.0 if sweep.objective.mode == "max" else -1.0
        self._sign = sign
        self._target = max(sign * curve.best(sweep.objective.mode) for curve in curves.trials if len(curve.values))
        shuffled = np.random.default_rng(sweep.search.seed).permutation(len(curves.trials) - 1) + 1
        self._shuffled = [0, *(int(number) for number in shuffled)]

    def run(self) -> Outcome:
        self._fill()
        while self._events:
            self._clock, _, number = heapq.heappop(self._events)
            self._report(self._trials[number])
            self._fill()
        return Outcome(
            epochs=self._epochs,
            hours=self._seconds / 3600,
            clock_hours=self._clock / 3600,
            found=self._sign * self._best,
            regret=self._target - self._best,
            epochs_to_near=self._near,
            trials=tuple(self._trials.values()),
        )

    @property
    def _epochs(self) -> int:
        return sum(len(trial.reports) for trial in self._trials.values())

    def _fill(self) -> None:
        while len(self._events) < self._slots:
            if self._rule.resumable:
                self._plan_report(self._trials[self._rule.resumable.pop(0)])
            elif len(self._trials) < self._planned:
                self._plan_report(self._new())
            else:
                return

    def _new(self) -> Trial:
        number = len(self._trials)
        record, note = self._choose(number)
        self._record[number] = record
        self._trials[number] = Trial(number, self._curves.trials[record].point, note=note)
        return self._trials[number]

    def _choose(self, number: int) -> tuple[int, dict[str, Any]]:
        """Which recorded curve the trial has, and its sampler's note."""
        if number == 0 or self._sweep.search.sampler == "random":
            return self._shuffled[number], {}
        wanted = suggest(self._sweep, number, self._trials)
        unused = sorted(set(range(len(self._curves.trials))) - set(self._record.values()))
        points = [self._curves.trials[record].point for record in unused]
        distances = [_distance(wanted.point, point, self._sweep.distributions) for point in points]
        return unused[int(np.argmin(distances))], wanted.note

    def _plan_report(self, trial: Trial) -> None:
        """The trial's next epoch ends so much later; one that has no more is infeasible at once."""
        curve, done = self._curves.trials[self._record[trial.number]], len(trial.reports)
        trial.state = "running"
        takes = curve.seconds[done] if done < len(curve.seconds) else 0.0
        heapq.heappush(self._events, (self._clock + float(takes), self._order, trial.number))
        self._order += 1

    def _report(self, trial: Trial) -> None:
        curve, epoch = self._curves.trials[self._record[trial.number]], len(trial.reports) + 1
        if epoch > len(curve.values):
            self._end(trial, "infeasible")
            return
        value = float(curve.values[epoch - 1])
        trial.reports[epoch], trial.reported_at[epoch] = {self._curves.metric: value}, self._clock
        self._seconds += float(curve.seconds[epoch - 1])
        self._best = max(self._best, self._sign * value)
        if self._near == math.inf and self._best >= self._target - (1 - NEAR) * abs(self._target):
            self._near = self._epochs
        verdict = self._rule.report(trial.number, epoch, value)
        if verdict is Verdict.STOP:
            self._end(trial, "stopped")
        elif epoch == self._curves.epochs:
            self._end(trial, "finished")
        elif verdict is Verdict.CONTINUE:
            self._plan_report(trial)
        for number in list(self._rule.dropped):
            self._end(self._trials[number], "stopped")

    def _end(self, trial: Trial, state: str) -> None:
        trial.state, trial.reason = state, self._rule.reasons.get(trial.number, "")
        self._rule.ended(trial.number)


def _distance(one: Point, other: Point, distributions: Mapping[str, Distribution]) -> float:
    """The square of it: each range is as long as any other, another choice or a key that is missing a whole range."""
    return sum(_apart(one.get(key), other.get(key), distribution) ** 2 for key, distribution in distributions.items())


def _apart(one: Value | None, other: Value | None, distribution: Distribution) -> float:
    if one is None or other is None or isinstance(distribution, Choice):
        return float(one != other)
    return _place(one, distribution) - _place(other, distribution)


def _place(value: Value, distribution: Uniform | Int) -> float:
    """0 at the lower end, 1 at the upper."""
    ends = (float(distribution.low), float(distribution.high), float(value))
    low, high, at = (math.log(end) for end in ends) if distribution.log else ends
    return (at - low) / (high - low)
