"""What a sampler is asked, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuner.journal import Trial
from tuner.space import Point, Space
from tuner.sweep import Sweep


@dataclass(frozen=True)
class Draw:
    """The point of a trial, and what its sampler wants to read again beside it: Trial.note, small and JSON."""

    point: Point
    note: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """Which point has trial `number`? `trials`: those before it, earlier sweeps' (numbers below 0) first."""

    sweep: Sweep
    space: Space
    number: int
    trials: Mapping[int, Trial]

    @classmethod
    def of(cls, sweep: Sweep, number: int, trials: Mapping[int, Trial]) -> "Question":
        before = {known: trials[known] for known in sorted(trials) if known < number}
        return cls(sweep, sweep.searched, number, before)

    @property
    def position(self) -> int:
        """How many points the sampler itself has drawn before: not the presets', not the file's `points`."""
        return self.number - 1 - len(self.sweep.search.points)

    def generator(self) -> np.random.Generator:
        """Of this trial alone: no other trial changes its draws."""
        return np.random.default_rng([self.sweep.search.seed, self.number])

    def seed(self, attempt: int = 0) -> int:
        """An unsigned 32-bit seed for a library, another one for each attempt."""
        entropy = [self.sweep.search.seed, self.number, *([attempt] if attempt else [])]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


Sampler = Callable[[Question], Draw]
