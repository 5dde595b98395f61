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


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.8])
def test_whole_super_classes_are_held_out_together(fraction: float) -> None:
    labels, supers = made(supers=11)
    kept, held = hold_out(labels, supers, fraction, seed=3, unit="super-class")
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert not set(supers[kept]) & set(supers[held]) and not set(labels[kept]) & set(labels[held])
    assert abs(len(set(supers[held])) - len(set(supers)) * fraction) <= 0.5


@pytest.mark.parametrize("k", [2, 3, 5])
def test_folds_of_super_classes(k: int) -> None:
    labels, supers = made(supers=11)
    parts = folds(labels, supers, k, seed=1, unit="super-class")
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    held = [set(supers[part]) for part in parts]
    assert sum(len(part) for part in held) == len(set(supers))
    assert max(map(len, held)) - min(map(len, held)) <= 1
    again = folds(labels, supers, k, seed=1, unit="super-class")
    assert all(np.array_equal(part, same) for part, same in zip(parts, again, strict=True))


def test_super_classes_that_are_not_there_or_too_few() -> None:
    labels, supers = made(supers=3)
    found = len(set(supers))
    with pytest.raises(UserError, match="no super-classes to hold out"):
        hold_out(labels, None, 0.5, seed=0, unit="super-class")
    with pytest.raises(UserError, match=f"at least 9 super-classes, there are {found}"):
        folds(labels, supers, 9, seed=0, unit="super-class")
    with pytest.raises(UserError, match=f"of {found} super-classes leaves one side empty"):
        hold_out(labels, supers, 0.01, seed=0, unit="super-class")


@pytest.mark.parametrize("fraction", [0.1, 0.4, 0.9])
def test_a_closed_set_holds_out_images_of_every_class(fraction: float) -> None:
    labels, supers = made()
    kept, held = hold_out(labels, supers, fraction, seed=2, unit="image")
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label in set(labels):
        size, left = sum(labels == label), sum(labels[kept] == label)
        if size < 4:
            assert left == size
        else:
            # as near to the fraction as two images on either side allow
            allowed = range(2, size - 1)
            assert abs(size - left - size * fraction) == min(abs(count - size * fraction) for count in allowed)
    assert np.array_equal(held, hold_out(labels, None, fraction, seed=2, unit="image")[1])
    assert not np.array_equal(held, hold_out(labels, supers, fraction, seed=3, unit="image")[1])


@pytest.mark.parametrize("k", [2, 3, 4])
def test_folds_of_images(k: int) -> None:
    labels, _ = made()
    parts = folds(labels, None, k, seed=1, unit="image")
    dealt = np.concatenate(parts).tolist()
    assert len(dealt) == len(set(dealt))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for label in set(labels):
        size = sum(labels == label)
        held = [sum(labels[part] == label) for part in parts]
        if size < 2 * k:
            assert held == [0] * k
        else:
            assert sum(held) == size and max(held) - min(held) <= 1
            assert all(count >= 2 and size - count >= 2 for count in held)
    again = folds(labels, None, k, seed=1, unit="image")
    assert all(np.array_equal(part, same) for part, same in zip(parts, again, strict=True))


def test_a_closed_set_needs_classes_of_four() -> None:
    labels = np.repeat(np.arange(5), 3)
    with pytest.raises(UserError, match="classes of at least 4 images, the data have none"):
        hold_out(labels, None, 0.5, seed=0, unit="image")
    with pytest.raises(UserError, match="at least 6 images"):
        folds(labels, None, 3, seed=0, unit="image")
