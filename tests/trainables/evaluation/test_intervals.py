"""Bootstrap intervals: an obvious bootstrap, the normal approximation, queries without a metric, seeds."""

import numpy as np
import pytest

from trainables.errors import UserError
from trainables.evaluation import bootstrap_intervals, intervals


def obvious_bootstrap(values, rounds, confidence, seed):
    """One round and one drawn query at a time."""
    random = np.random.default_rng(seed)
    having = [i for i in range(len(next(iter(values.values())))) if any(not np.isnan(v[i]) for v in values.values())]
    means = {name: [] for name in values}
    for _ in range(rounds):
        drawn = [having[random.integers(len(having))] for _ in having]
        for name, value in values.items():
            known = [value[i] for i in drawn if not np.isnan(value[i])]
            if known:
                means[name].append(sum(known) / len(known))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {name: tuple(np.quantile(of, tails)) for name, of in means.items()}


def some_values(count=150, seed=0):
    random = np.random.default_rng(seed)
    hits = (random.random(count) < 0.7).astype(float)
    return {"recall_at_1": hits, "map_at_r": random.beta(2, 3, count)}


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("missing", ["none", "all", "some"])
def test_same_as_an_obvious_bootstrap(confidence, missing):
    values = some_values()
    if missing == "all":
        values = {name: np.where(np.arange(150) % 5 == 0, np.nan, value) for name, value in values.items()}
    if missing == "some":
        values["map_at_r"][::3] = np.nan
    found = bootstrap_intervals(values, 4000, confidence, seed=1)
    expected = obvious_bootstrap(values, 1500, confidence, seed=2)
    for name, bounds in expected.items():
        # Two random estimates of one quantile: about a tenth of a standard error apart.
        error = np.nanstd(values[name]) / np.sqrt((~np.isnan(values[name])).sum())
        assert found[name] == pytest.approx(bounds, abs=0.25 * error), name


def test_close_to_the_normal_approximation():
    value = np.random.default_rng(3).beta(2, 3, 5000)
    low, high = bootstrap_intervals({"map": value}, rounds=4000)["map"]
    error = value.std() / np.sqrt(len(value))
    assert low == pytest.approx(value.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(value.mean() + 1.96 * error, abs=0.1 * error)


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    random = np.random.default_rng(4)
    samples = {str(i): random.beta(2, 3, 200) for i in range(300)}
    covered = [low <= 2 / 5 <= high for low, high in bootstrap_intervals(samples, confidence=0.9).values()]
    assert 0.85 < np.mean(covered) < 0.95


def test_queries_without_a_metric_change_nothing():
    values = some_values()
    padded = {name: np.concatenate([value, np.full(40, np.nan)]) for name, value in values.items()}
    assert bootstrap_intervals(padded) == bootstrap_intervals(values)


def test_the_seed_decides_and_blocks_do_not_matter(monkeypatch):
    values = some_values()
    first = bootstrap_intervals(values, seed=5)
    assert bootstrap_intervals(values, seed=5) == first != bootstrap_intervals(values, seed=6)
    monkeypatch.setattr(intervals, "_DRAWN", 1000)
    for name, bounds in bootstrap_intervals(values, seed=5).items():
        assert bounds == pytest.approx(first[name], abs=1e-12)


def test_by_hand():
    found = bootstrap_intervals({"same": np.full(9, 0.25), "one": np.array([0.5, *[np.nan] * 8])})
    assert found == {"same": (0.25, 0.25), "one": (0.5, 0.5)}
    nowhere = bootstrap_intervals({"here": np.ones(4), "nowhere": np.full(4, np.nan)})
    assert nowhere["here"] == (1, 1)
    assert np.isnan(nowhere["nowhere"]).all()
    assert np.isnan(bootstrap_intervals({"nowhere": np.full(4, np.nan)})["nowhere"]).all()
    assert bootstrap_intervals({}) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"a": np.ones(3)}, 0), "rounds=0"),
        (({"a": np.ones(3)}, 1.5), "rounds=1.5"),
        (({"a": np.ones(3)}, 10, 1.0), "confidence=1.0"),
        (({"a": np.ones(3)}, 10, np.nan), "confidence=nan"),
        (({"a": np.ones(3), "b": np.ones(4)},), "not of the same queries"),
        (({"a": np.ones((3, 2))},), "not of the same queries"),
    ],
)
def test_mistakes_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        bootstrap_intervals(*arguments)
