"""Partitions: no class on both sides, each super-class its share, the same by seed."""

import numpy as np
import pytest

from trainables.data import folds, hold_out
from trainables.errors import UserError


def made(classes: int = 60, supers: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes) * 7, generator.integers(1, 9, classes))
    generator.shuffle(labels)
    return labels, (labels // 7) ** 2 % supers


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.9])
def test_hold_out(fraction: float) -> None:
    labels, supers = made()
    kept, held = hold_out(labels, supers, fraction, seed=3)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert not set(labels[kept]) & set(labels[held])
    assert abs(len(set(labels[held])) - 60 * fraction) <= 1
    for stratum in set(supers):
        inside = set(labels[supers == stratum])
        assert abs(len(inside & set(labels[held])) - len(inside) * fraction) <= 1
    again = hold_out(labels, supers, fraction, seed=3)
    assert np.array_equal(kept, again[0]) and np.array_equal(held, again[1])
    assert not np.array_equal(held, hold_out(labels, supers, fraction, seed=4)[1])


def test_without_super_classes() -> None:
    labels, _ = made()
    kept, held = hold_out(labels, None, 0.25, seed=0)
    assert len(set(labels[held])) == 15 and not set(labels[kept]) & set(labels[held])


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(UserError, match="one side empty"):
        hold_out(np.array([0, 0, 1, 1]), None, 0.01, seed=0)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_folds(k: int) -> None:
    labels, supers = made()
    parts = folds(labels, supers, k, seed=1)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    sizes = [len(set(labels[part])) for part in parts]
    assert sum(sizes) == 60 and max(sizes) - min(sizes) <= 1
    for stratum in set(supers):
        inside = [len(set(labels[part][supers[part] == stratum])) for part in parts]
        assert max(inside) - min(inside) <= 1
    with pytest.raises(UserError, match="at least 61 classes"):
        folds(labels, supers, 61, seed=0)
