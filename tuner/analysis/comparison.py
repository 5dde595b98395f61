"""Sweeps against each other: the best so far at equal trials, epochs and device hours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.errors import UserError
from tuner.analysis import costs
from tuner.analysis.noise import Noise
from tuner.results import Results

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the smallest sweep's budget
RESAMPLES = 2000
SURE = 0.95


@dataclass(frozen=True)
class Stand:
    """One sweep at one budget. best: as it was run. low, high: 90 % of its resamples; None before the first value."""

    sweep: str
    axis: str
    budget: float
    best: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """ahead: sweep -> share of the resamples in which it has the best value at the smallest budget of epochs."""

    stands: tuple[Stand, ...]
    ahead: dict[str, float]
    trusted: str | None
    verdict: str


@dataclass(frozen=True)
class _Column:
    """The trials of one sweep by number. scores: the larger the better, -inf without; costs: (m,) by axis."""

    results: Results
    name: str
    scores: np.ndarray
    costs: dict[str, np.ndarray]


def check_alike(sweeps: Sequence[Results]) -> None:
    """UserError that names the first difference by which values could not be compared."""
    if len(sweeps) < 2:
        raise UserError("compare takes two sweeps or more")
    first = sweeps[0].sweep
    for other in (results.sweep for results in sweeps[1:]):
        told = (
            ("objective.metric", first.objective.metric, other.objective.metric),
            ("objective.mode", first.objective.mode, other.objective.mode),
            *(
                (f"validation.{key}", value, getattr(other.validation, key))
                for key, value in first.validation.model_dump().items()
            ),
        )
        for key, one, another in told:
            if one != another:
                raise UserError(
                    f"{first.name!r} has {key}={one}, {other.name!r} has {key}={another}: "
                    "their values cannot be compared"
                )
        if costs.unit(first) != costs.unit(other):
            raise UserError(f"{first.name!r} counts {costs.unit(first)}, {other.name!r} {costs.unit(other)}")


def compare(sweeps: Sequence[Results], noise: Noise, seed: int = 0) -> Comparison:
    """Resamples: as many trials drawn with replacement, in random order, a trial counted once it is paid for in full.

    The order of an adaptive sampler's trials is lost in them: `best`, as it was run, keeps it.
    """
    check_alike(sweeps)
    columns = [_column(results, name) for results, name in zip(sweeps, _names(sweeps), strict=True)]
    sign = 1.0 if sweeps[0].sweep.objective.mode == "max" else -1.0
    stands, final = [], []
    for axis in ("trials", "epochs", "hours"):
        smallest = min(float(column.costs[axis].sum()) for column in columns)
        for share in SHARES:
            budget = math.ceil(share * smallest) if axis != "hours" else share * smallest
            # a generator for each: alike ones would draw the same luck for both sweeps
            drawn = [
                _resampled(column, axis, budget, np.random.default_rng([seed, place]))
                for place, column in enumerate(columns)
            ]
            stands += [_stand(c, axis, budget, best, sign) for c, best in zip(columns, drawn, strict=True)]
            if axis == "epochs" and share == SHARES[-1]:
                final = drawn
    ahead = _ahead([column.name for column in columns], final)
    equal = [stand for stand in stands if stand.axis == "epochs"][-len(columns) :]
    trusted = _trusted(equal, ahead, noise)
    return Comparison(tuple(stands), ahead, trusted, _verdict(equal, ahead, trusted, noise))


def _names(sweeps: Sequence[Results]) -> list[str]:
    """The sweeps' names, with their places where two have one name."""
    names = [results.sweep.name for results in sweeps]
    return [f"{name} ({place})" if names.count(name) > 1 else name for place, name in enumerate(names, start=1)]


def _column(results: Results, name: str) -> _Column:
    sign = 1.0 if results.sweep.objective.mode == "max" else -1.0
    trials = sorted((trial for trial in results.trials if trial.ended), key=lambda trial: trial.number)
    if not any(math.isfinite(results.value(trial)) for trial in trials):
        raise UserError(f"sweep {name!r} has no trial that has ended with a value")
    values = [results.value(trial) for trial in trials]
    return _Column(
        results,
        name,
        np.array([sign * value if math.isfinite(value) else -math.inf for value in values]),
        {
            "trials": np.ones(len(trials)),
            "epochs": np.array([float(len(trial.reports)) for trial in trials]),
            "hours": np.array([costs.hours(results.sweep, trial) for trial in trials]),
        },
    )


def _resampled(column: _Column, axis: str, budget: float, generator: np.random.Generator) -> np.ndarray:
    """(RESAMPLES,) the best score within the budget; -inf where no trial is paid for."""
    rows = generator.integers(len(column.scores), size=(RESAMPLES, len(column.scores)))
    paid = np.cumsum(column.costs[axis][rows], axis=1) <= budget * (1 + 1e-9)
    return np.where(paid, column.scores[rows], -math.inf).max(axis=1)


def _stand(column: _Column, axis: str, budget: float, drawn: np.ndarray, sign: float) -> Stand:
    curve = costs.best_so_far(column.results)
    if axis == "trials":
        best = float(column.scores[: int(budget)].max())
        told = sign * best if math.isfinite(best) else None
    else:
        within = [step.best for step in curve if getattr(step, axis) <= budget * (1 + 1e-9)]
        told = within[-1] if within else None
    low, high = sorted(sign * np.quantile(drawn, [0.05, 0.95], method="inverted_cdf"))
    ends = [float(end) if math.isfinite(end) else None for end in (low, high)]
    return Stand(column.name, axis, budget, told, *ends)


def _ahead(names: Sequence[str], drawn: Sequence[np.ndarray]) -> dict[str, float]:
    """Shares of the resamples that each one wins; a tie is shared."""
    scores = np.stack(drawn)  # (sweeps, RESAMPLES)
    winners = scores == scores.max(axis=0)
    return dict(zip(names, (winners / winners.sum(axis=0)).mean(axis=1).tolist(), strict=True))


def _trusted(equal: Sequence[Stand], ahead: dict[str, float], noise: Noise) -> str | None:
    leader = max(ahead, key=lambda name: ahead[name])
    own = next(stand.best for stand in equal if stand.sweep == leader)
    others = [stand.best for stand in equal if stand.sweep != leader]
    gaps = [abs(own - other) for other in others if own is not None and other is not None]
    if ahead[leader] < SURE or (noise.difference is not None and gaps and min(gaps) <= noise.difference):
        return None
    return leader


def _verdict(equal: Sequence[Stand], ahead: dict[str, float], trusted: str | None, noise: Noise) -> str:
    leader = max(ahead, key=lambda name: ahead[name])
    where = f"at {equal[0].budget:g} epochs each {leader!r} is ahead in {ahead[leader]:.0%} of the resamples"
    if trusted is not None:
        unknown = "" if noise.difference is not None else "; the seeds' noise is not known: `confirm` its winner"
        return f"trust {trusted!r}: {where}{unknown}"
    if ahead[leader] >= SURE:
        return f"trust neither: {where}, by no more than the noise of {noise.difference:.4f}"
    return f"trust neither: {where}, {SURE:.0%} would settle it"
