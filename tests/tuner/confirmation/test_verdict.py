"""The paired bootstrap: an obvious one beside it, its coverage, and what the sentence says."""

import numpy as np
import pytest

from tuner.confirmation.verdict import Verdict, compared, judge, paired_interval, stretch


def obvious_interval(differences: np.ndarray, rounds: int, confidence: float, seed: int) -> tuple[float, float]:
    """One round, one drawn seed and one drawn query at a time."""
    random = np.random.default_rng(seed)
    seeds, queries = differences.shape
    found = []
    for _ in range(rounds):
        drawn = [random.integers(queries) for _ in range(queries)]
        means = [sum(row[query] for query in drawn) / queries for row in differences]
        middle = sum(means) / seeds
        some = sum(means[random.integers(seeds)] for _ in range(seeds)) / seeds
        found.append(middle + stretch(seeds, confidence) * (some - middle))
    return tuple(np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2]))


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_same_as_an_obvious_bootstrap(confidence: float) -> None:
    random = np.random.default_rng(0)
    differences = random.normal(0.02, 0.03, (5, 1)) + random.normal(0, 0.2, (1, 60))
    found = paired_interval(differences, 4000, confidence)
    expected = obvious_interval(differences, 2000, confidence, seed=1)
    width = expected[1] - expected[0]
    assert found == pytest.approx(expected, abs=0.12 * width)
    assert found == paired_interval(differences, 4000, confidence)


def test_stretch_is_the_t_table() -> None:
    assert stretch(5, 0.95) == pytest.approx((5 / 4) ** 0.5 * 2.776445 / 1.959964, rel=1e-5)
    assert stretch(2, 0.95) == pytest.approx(2**0.5 * 12.706205 / 1.959964, rel=1e-5)
    assert stretch(1000, 0.95) == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("seeds", [2, 5])
def test_it_holds_the_truth_as_often_as_it_says(seeds: int) -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        differences = random.normal(0, 1, (seeds, 1)) + random.normal(0, 0.3, (1, 20))
        low, high = paired_interval(differences, 400)
        held += low <= 0 <= high
    assert 0.9 <= held / 200 <= 0.99


def test_queries_without_a_positive_do_not_count() -> None:
    nan = np.nan
    pairs = [
        (np.array([0.5, nan, 1.0]), np.array([0.25, nan, 0.5])),
        (np.array([0.5, nan, 0.0]), np.array([0.0, nan, 0.5])),
    ]
    verdict = judge("a", "b", "test", "map_at_r", pairs)
    assert verdict.difference == (0.25 + 0.5 + 0.5 - 0.5) / 4
    assert (verdict.seeds, verdict.queries) == (2, 2)


def test_only_seeds_that_both_have_are_compared() -> None:
    def values(mean: float) -> dict[str, dict[str, np.ndarray]]:
        return {"test": {"m": np.full(4, mean)}}

    own = {1: values(0.5), 2: values(0.6), 3: values(9.0)}
    others = {1: values(0.4), 2: values(0.4)}
    (verdict,) = compared(own, others, ("a", "b"), "m")
    assert verdict.difference == pytest.approx(0.15) and verdict.seeds == 2
    assert compared({1: values(1.0)}, others, ("a", "b"), "m") == []


@pytest.mark.parametrize(
    ("difference", "low", "high", "said"),
    [
        (0.021, 0.013, 0.03, "the winner beats the defaults by 0.0210 in test/m (95 % interval 0.0130 to 0.0300, 5"),
        (-0.02, -0.03, -0.01, "the defaults beat the winner by 0.0200 in test/m (95 % interval 0.0100 to 0.0300, 5"),
        (0.004, -0.003, 0.011, "no difference that 5 seeds can show: the winner minus the defaults is 0.0040"),
    ],
)
def test_sentences(difference: float, low: float, high: float, said: str) -> None:
    verdict = Verdict("the winner", "the defaults", "test", "m", difference, low, high, 5, 698)
    assert verdict.sentence().startswith(said) and "698 queries" in verdict.sentence()
