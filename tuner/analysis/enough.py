"""Enough trials? The best of n, resampled from the trials there are."""

import math
from dataclasses import dataclass

import numpy as np

from tuner.analysis.noise import Noise
from tuner.results import Results

FEWEST = 8  # trials with a value


@dataclass(frozen=True)
class BestOf:
    """The best of `trials` trials: its expectation, and the interval that holds it in 90 % of all resamples."""

    trials: int
    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Enough:
    """curve: best of 1, 2, 4, ... trials up to all. gain: of the last doubling, NaN where there are too few.

    enough: None where nothing measures the noise, or too few trials have a value.
    """

    curve: tuple[BestOf, ...]
    gain: float
    enough: bool | None


def best_of(scores: np.ndarray, trials: int) -> BestOf:
    """The bootstrap in its limit of infinitely many resamples; scores: (m,), the larger the better.

    Of n draws with replacement the largest is no better than the i-th smallest of m with probability (i / m)^n
    (Dodge et al., "Show Your Work", 2019, equation 8). It cannot exceed what was seen, so it is biased low.
    """
    ordered = np.sort(scores)
    below = (np.arange(1, len(ordered) + 1) / len(ordered)) ** trials
    expected = float(np.sum(ordered * np.diff(below, prepend=0.0)))
    low, high = (ordered[min(int(np.searchsorted(below, q - 1e-12)), len(ordered) - 1)] for q in (0.05, 0.95))
    return BestOf(trials, expected, float(low), float(high))


def enough(results: Results, noise: Noise) -> Enough:
    """Whether as many trials again can be expected to gain more than the noise.

    They are expected to gain no more than the last doubling did: the best of n grows ever more slowly. As if every
    trial had been drawn alike: of an adaptive sampler the later ones are better, and the next may gain more.
    """
    sign = 1.0 if results.sweep.objective.mode == "max" else -1.0
    scores = np.array([sign * v for trial in results.trials if math.isfinite(v := results.value(trial))])
    counts = [2**power for power in range(int(math.log2(len(scores))) + 1)] if len(scores) else []
    counts += [len(scores)] if len(scores) not in counts and len(scores) else []
    curve = tuple(_signed(best_of(scores, count), sign) for count in counts)
    if len(scores) < FEWEST:
        return Enough(curve, math.nan, None)
    gain = best_of(scores, len(scores)).expected - best_of(scores, len(scores) // 2).expected
    return Enough(curve, gain, None if noise.difference is None else gain <= noise.difference)


def _signed(found: BestOf, sign: float) -> BestOf:
    ends = sorted((sign * found.low, sign * found.high))
    return BestOf(found.trials, sign * found.expected, *ends)
