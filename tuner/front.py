"""The trials of a sweep with trade-offs of which no other is better in everything: its Pareto front."""

import math
from collections.abc import Iterable

from tuner.journal import Trial
from tuner.sweep import Sweep


def tradeoffs(sweep: Sweep, trial: Trial) -> dict[str, float]:
    """Each trade-off's value at the trial's best epoch of the objective; NaN where there is none."""
    best = trial.best(sweep.objective.metric, sweep.objective.mode)
    reported = {} if best is None else trial.reports[best[0]]
    return {one.metric: reported.get(one.metric, math.nan) for one in sweep.tradeoffs}


def front(sweep: Sweep, trials: Iterable[Trial]) -> set[int]:
    """The numbers of those that no other equals in every objective and beats in one; empty without trade-offs."""
    if not sweep.tradeoffs:
        return set()
    others = [one.metric for one in sweep.tradeoffs]
    signs = [1.0 if one.mode == "max" else -1.0 for one in (sweep.objective, *sweep.tradeoffs)]
    merits = {}
    for trial in trials:
        values = trial.at_best(sweep.objective.metric, sweep.objective.mode, others)
        if values is not None:
            merits[trial.number] = tuple(sign * value for sign, value in zip(signs, values, strict=True))
    return {number for number, own in merits.items() if not any(_dominates(other, own) for other in merits.values())}


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
