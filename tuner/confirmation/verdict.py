"""Whether one arm beats the other on the test split: a paired bootstrap over seeds and queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from trainables.evaluation import drawn_means

Values = Mapping[str, NDArray[np.float64]]  # metric -> by query (N,), NaN where a query has no positive

ROUNDS = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Verdict:
    """An arm against the defaults on one test split. difference: its mean metric minus theirs."""

    arm: str
    against: str
    split: str
    metric: str
    difference: float
    low: float
    high: float
    seeds: int
    queries: int

    def sentence(self) -> str:
        """Who beats whom by how much, or that these seeds cannot tell."""
        certain = self.low > 0 or self.high < 0
        sign = -1.0 if certain and self.high < 0 else 1.0
        low, high = sorted((sign * self.low, sign * self.high))
        measured = f"{sign * self.difference:.4f} in {self.split}/{self.metric}"
        sure = f"({CONFIDENCE:.0%} interval {low:.4f} to {high:.4f}, {self.seeds} seeds, {self.queries} queries)"
        sure = sure.replace("%", " %")
        if not certain:
            return (
                f"no difference that {self.seeds} seeds can show: {self.arm} minus {self.against} is {measured} {sure}"
            )
        first, second = (self.arm, self.against) if sign > 0 else (self.against, self.arm)
        verb = "beat" if first.startswith("the defaults") else "beats"
        return f"{first} {verb} {second} by {measured} {sure}"


def judge(
    arm: str,
    against: str,
    split: str,
    metric: str,
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> Verdict:
    """pairs: by seed the metric by query (N,) of the arm and of what it is compared with; NaN without a positive."""
    differences = np.stack([own - others for own, others in pairs])  # (S, N)
    differences = differences[:, ~np.isnan(differences).any(axis=0)]
    low, high = paired_interval(differences)
    seeds, queries = differences.shape
    return Verdict(arm, against, split, metric, float(differences.mean()), low, high, seeds, queries)


def paired_interval(
    differences: NDArray[np.float64], rounds: int = ROUNDS, confidence: float = CONFIDENCE, seed: int = 0
) -> tuple[float, float]:
    """(S, N) differences of two arms by seed and query -> (low, high) of their mean over seeds and queries.

    Each round draws S seeds and N queries with replacement, the same for both arms; every seed was asked the same
    queries, so a round's queries are those of all its seeds (two crossed factors: Owen 2007, The pigeonhole bootstrap).
    What the drawn seeds add is stretched by `stretch`. The same seed, the same interval.
    """
    count = len(differences)
    assert count >= 2, "one seed says nothing about the seeds"
    by_seed = drawn_means(differences.T, rounds, seed)  # (rounds, S)
    drawn = np.random.default_rng([seed, 1]).integers(count, size=(rounds, count))
    of_queries = by_seed.mean(axis=1)
    of_seeds = np.take_along_axis(by_seed, drawn, axis=1).mean(axis=1) - of_queries
    low, high = np.quantile(
        of_queries + stretch(count, confidence) * of_seeds, [(1 - confidence) / 2, (1 + confidence) / 2]
    )
    return float(low), float(high)


def stretch(count: int, confidence: float) -> float:
    """How much wider a t interval of the mean of `count` values is than a percentile bootstrap's.

    That one has the variance of the values divided by their number instead of one less, and the tails of a normal
    distribution (Hesterberg 2015, What Teachers Should Know About the Bootstrap, arXiv 1411.5279): with 5 values a
    95 % interval would hold the truth in about 84 % of cases.
    """
    tail = (1 + confidence) / 2
    return float(np.sqrt(count / (count - 1)) * stats.t.ppf(tail, count - 1) / stats.norm.ppf(tail))


def compared(
    values: Mapping[int, Mapping[str, Values]],
    others: Mapping[int, Mapping[str, Values]],
    names: tuple[str, str],
    metric: str,
) -> list[Verdict]:
    """A verdict for each test split, of what is in names. values, others: seed -> split -> metrics by query.

    Seeds that both have count; none where they share fewer than two.
    """
    shared = sorted(set(values) & set(others))
    if len(shared) < 2:
        return []
    return [
        judge(*names, split, metric, [(values[seed][split][metric], others[seed][split][metric]) for seed in shared])
        for split in values[shared[0]]
    ]
