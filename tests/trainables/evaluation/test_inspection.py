"""What is shown of a split: by hand on a line of points, and against loops that say the same slowly."""

from collections import Counter

import numpy as np
import pytest

from tests.reference.metrics import slow_metrics
from tests.trainables.evaluation.test_metrics import random_split
from trainables.evaluation import (
    confusions,
    group_means,
    hardest,
    inspected,
    median,
    most_confused,
    principal_plane,
)
from trainables.evaluation.inspection import Confusion

# Six pictures at these angles; the nearer two angles, the more similar. Class 7 is alone.
ANGLES, LABELS = np.deg2rad([0.0, 10.0, 12.0, 31.0, 33.0, 80.0]), np.array([4, 4, 2, 2, 4, 7])
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).astype(np.float32)


def slow_order(labels, scores):
    """Queries with a positive from the hardest to the easiest."""
    known = [i for i in range(len(labels)) if scores[i] is not None]
    return sorted(known, key=lambda i: (scores[i]["map_at_r"], scores[i]["mrr"], i))


def slow_first_wrong(rows, labels):
    """By query the (place, class) of its nearest wrong neighbour among the first min(R, 10), where there is one."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = {}
    for i in range(len(rows)):
        others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: -float(unit[i] @ unit[j]))
        r = int((labels == labels[i]).sum()) - 1
        for place, j in enumerate(others[: min(r, 10)], start=1):
            if labels[j] != labels[i]:
                found[i] = (place, int(labels[j]))
                break
    return found


def test_a_line_of_points_worked_by_hand() -> None:
    found = inspected(CIRCLE, LABELS, k=6)
    assert found.labels.tolist() == [1, 1, 0, 0, 1, 2] and found.positives.tolist() == [2, 2, 1, 1, 2, 0]
    assert found.neighbours.tolist() == [
        [1, 2, 3, 4, 5, -1], [2, 0, 3, 4, 5, -1], [1, 0, 3, 4, 5, -1],
        [4, 2, 1, 0, 5, -1], [3, 2, 1, 0, 5, -1], [4, 3, 2, 1, 0, -1],
    ]  # fmt: skip
    assert found.right[0].tolist() == [True, False, False, True, False, False]
    assert not found.right[5].any()
    np.testing.assert_allclose(found.map_at_r, [1 / 2, 1 / 4, 0, 0, 0, np.nan])
    np.testing.assert_allclose(found.reciprocal_rank, [1, 1 / 2, 1 / 3, 1 / 2, 1 / 3, np.nan])
    assert hardest(found, 9) == [2, 4], "of each class the hardest; 2 and 4 are equal, and so as they are listed"
    assert median(found, 9) == [3, 4], "of the order 2 4 3 1 0 the middle is 3, then come 4 and 1, of one class"
    # 2 takes 1, 3 takes 4: both queries of class 0; of class 1 query 0 has 2 in place 2, 1 has 2 in 1, 4 has 3 in 1
    one_way = Confusion(1, 0, 3, 3, 4 / 3, ((1, 2), (4, 3), (0, 2)))
    assert confusions(found) == [one_way, Confusion(0, 1, 2, 2, 1.0, ((2, 1), (3, 4)))]
    assert most_confused(found, 9) == [one_way], "one line for both ways"
    assert group_means(found.map_at_r, found.labels) == pytest.approx({0: 0.0, 1: 1 / 4})


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_random_splits_against_loops(noise: float) -> None:
    rows, labels = random_split(size=160, classes=30, noise=noise)
    found, scores = inspected(rows, labels), slow_metrics(rows, labels)
    order = slow_order(labels, scores)
    first = list({int(labels[i]): i for i in reversed(order)}.values())
    assert set(hardest(found, 1000)) == set(first) and hardest(found, 5) == sorted(first, key=order.index)[:5]
    assert median(found, 1) == [order[(len(order) - 1) // 2]]
    wrong = slow_first_wrong(rows, labels)
    names = np.unique(labels)
    counts = Counter((int(labels[i]), other) for i, (_, other) in wrong.items())
    told = {(int(names[one.label]), int(names[one.other])): one for one in confusions(found)}
    assert {pair: one.count for pair, one in told.items()} == counts
    for (label, other), one in told.items():
        assert one.queries == (labels == label).sum()
        places = [place for i, (place, taken) in wrong.items() if labels[i] == label and taken == other]
        assert one.rank == pytest.approx(np.mean(places)) and len(one.examples) == one.count
        assert [wrong[query][0] for query, _ in one.examples] == sorted(places)
        assert all((labels[query], labels[taken]) == (label, other) for query, taken in one.examples)
    shares = [one.count / (one.queries + 1) for one in confusions(found)]
    assert shares == sorted(shares, reverse=True)
    for label, mean in group_means(found.map_at_r, labels).items():
        own = [scores[i]["map_at_r"] for i in range(len(labels)) if labels[i] == label and scores[i]]  # type: ignore[index]
        assert mean == pytest.approx(np.mean(own))


def test_nothing_is_confused_where_all_is_right() -> None:
    rows, labels = random_split(size=40, classes=4, noise=0.0)
    assert confusions(inspected(rows, labels)) == []
    assert group_means(np.array([np.nan]), np.array([3])) == {}


@pytest.mark.parametrize("dim", [2, 5, 40])
def test_the_plane_is_that_of_a_singular_value_decomposition(dim: int) -> None:
    rows, _ = random_split(size=60, dim=dim)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    centred = unit - unit.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    places, shares = principal_plane(rows)
    np.testing.assert_allclose(shares, (values**2 / (values**2).sum())[:2], atol=1e-6)
    for axis in range(2):
        expected = centred @ axes[axis] * np.sign(axes[axis][np.abs(axes[axis]).argmax()])
        np.testing.assert_allclose(places[:, axis], expected, atol=1e-5)


def test_a_plane_of_what_has_no_two_directions() -> None:
    places, shares = principal_plane(np.array([[2.0], [-3.0]]))
    assert places.tolist() == [[1, 0], [-1, 0]] and shares == (1.0, 0.0)
    places, shares = principal_plane(np.ones((3, 4)))
    assert not places.any() and shares == (0.0, 0.0)
