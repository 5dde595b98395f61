"""Sweeps, spaces and journals made by hand: no data set, no composition."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from tuner.journal import Trial
from tuner.sampling import suggest
from tuner.space import Choice, Distribution, Int, Point, Space, Uniform, Value
from tuner.sweep import Sweep

METRIC, LATENCY = "val/map_at_r", "time/embed_ms"

FLAT: dict[str, Distribution] = {
    "a": Uniform(1e-4, 1e-1, log=True),
    "b": Uniform(0.0, 2.0),
    "c": Uniform(1e-4, 1e-1, log=True),
    "d": Uniform(1e-3, 1.0, log=True),
}
MIXED: dict[str, Distribution] = {
    "real": Uniform(0.0, 2.0),
    "log": Uniform(1e-4, 1e-1, log=True),
    "steps": Uniform(0.0, 1.75, step=0.25),
    "logsteps": Uniform(0.5, 8.0, log=True, step=0.5),
    "wholesteps": Int(2, 11, step=3),
    "whole": Int(1, 8),
    "wholelog": Int(1, 100, log=True),
    "word": Choice(("a", "b", "c", "d")),
    "flag": Choice((True, False)),
}


class MadeSweep(Sweep):
    """A sweep whose space is an object: the language of the file is not what is tested here."""

    made: Any = None

    @property
    def searched(self) -> Space:
        return self.made

    @property
    def distributions(self) -> dict[str, Distribution]:
        return dict(self.made.distributions)


class Limited(Space):
    """A space with one constraint."""

    def __init__(self, distributions: Mapping[str, Distribution], allowed: Callable[[Mapping[str, Value]], bool]):
        super().__init__(distributions, {})
        object.__setattr__(self, "allowed", allowed)

    def allows(self, point: Mapping[str, Value]) -> bool:
        return self.allowed(point)  # type: ignore[attr-defined]


CONDITIONAL = Space(
    {"loss": Choice(("x", "y")), "x.tau": Uniform(0.0, 1.0), "y.margin": Uniform(0.0, 1.0), "lr": Uniform(0.0, 1.0)},
    {"x.tau": {"loss": ("x",)}, "y.margin": {"loss": ("y",)}},
)


def made_sweep(sampler: str, space: Space | None = None, tradeoffs: bool = False, **search: Any) -> MadeSweep:
    values: dict[str, Any] = {
        "name": "made",
        "goal": "find out whether the tests pass",
        "space": {"any": {"uniform": [0.0, 1.0]}},
        "search": {"sampler": sampler, "trials": 24, **search},
        "made": space or Space(FLAT, {}),
    }
    if tradeoffs:
        values["tradeoffs"] = [{"metric": LATENCY, "mode": "min"}]
    return MadeSweep.model_validate(values)


def trial(number: int, point: Point, state: str, *values: float, note: dict[str, Any] | None = None) -> Trial:
    """values: the objective epoch by epoch."""
    reports = {epoch: {METRIC: value} for epoch, value in enumerate(values, start=1)}
    return Trial(number, point, state, reports=reports, note=note or {})


def quadratic(point: Mapping[str, Value]) -> float:
    """Of FLAT: 0 at a = 10^-2.2, b = 0.7, c = 10^-3, d = 0.1, below it elsewhere."""
    a, c, d = (math.log10(float(point[key])) for key in ("a", "c", "d"))
    b = float(point["b"])
    return -((a + 2.2) ** 2 + (b - 0.7) ** 2 + 0.5 * (c + 3) ** 2 + 0.2 * (d + 1) ** 2)


def searched(sweep: Sweep, first: Point, judge: Callable[[Point], dict[str, float]], trials: int) -> dict[int, Trial]:
    """One trial after the other, each judged at once."""
    known = {0: Trial(0, first, "finished", reports={1: judge(first)})}
    for number in range(1, trials):
        draw = suggest(sweep, number, known)
        known[number] = Trial(number, draw.point, "finished", reports={1: judge(draw.point)}, note=draw.note)
    return known
