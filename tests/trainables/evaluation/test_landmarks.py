"""The landmark protocols: a slow implementation, fractions worked by hand, and the laws that any ranking obeys."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.reference.landmarks import slow_landmarks
from trainables.errors import UserError
from trainables.evaluation import landmark_metrics, metric_names, per_query_landmarks, retrieval_metrics
from trainables.evaluation.landmarks import average_precision, precision_at


@dataclass(frozen=True)
class Truth:
    easy: tuple[np.ndarray, ...]
    hard: tuple[np.ndarray, ...]
    junk: tuple[np.ndarray, ...]


def truth(easy: Sequence[Sequence[int]], hard: Sequence[Sequence[int]], junk: Sequence[Sequence[int]]) -> Truth:
    return Truth(*(tuple(np.array(own, dtype=np.int64) for own in kind) for kind in (easy, hard, junk)))


def random_case(seed: int, queries: int = 12, gallery: int = 90, dim: int = 6) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Some queries lack an easy answer, some a hard one, some junk; small integers make many scores equal."""
    random = np.random.default_rng(seed)
    rows = random.integers(-1, 2, (queries, dim)).astype(np.float32)
    others = random.integers(-1, 2, (gallery, dim)).astype(np.float32)
    kinds: tuple[list[np.ndarray], ...] = ([], [], [])
    for _ in range(queries):
        order, start = random.permutation(gallery), 0
        for kind in kinds:
            size = int(random.integers(0, 9))
            kind.append(order[start : start + size])
            start += size
    return rows, others, truth(*kinds)  # type: ignore[arg-type]


def on_a_circle(degrees: Sequence[float]) -> np.ndarray:
    """The query is at 0 degrees: a smaller angle is a higher score."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


QUERY = on_a_circle([0])


@pytest.mark.parametrize("seed", range(8))
def test_same_as_slow(seed: int) -> None:
    rows, others, judged = random_case(seed)
    ours = per_query_landmarks(rows, others, judged, ks=(1, 5, 10, 1000))
    expected = slow_landmarks(rows, others, judged.easy, judged.hard, judged.junk, ks=(1, 5, 10, 1000))  # type: ignore[arg-type]
    for i, values in enumerate(expected):
        for name, found in ours.items():
            if name in values:
                assert found[i] == pytest.approx(float(values[name]), abs=1e-12), (i, name)
            else:
                assert np.isnan(found[i]), (i, name)
    means = landmark_metrics(rows, others, judged, ks=(1, 5, 10, 1000))
    for name in ours:
        own = [values[name] for values in expected if name in values]
        assert means[name] == pytest.approx(float(sum(own) / len(own)), abs=1e-12)
    assert means["num_lone_queriesE"] == sum("mapE" not in values for values in expected)


def test_fractions_worked_by_hand() -> None:
    # ranked: wrong 0, easy 1, junk 2, hard 3, wrong 4, easy 5
    others = on_a_circle([10, 20, 30, 40, 50, 60])
    metrics = landmark_metrics(QUERY, others, truth([[1, 5]], [[3]], [[2]]), ks=(1, 2, 5))
    # easy leaves 0, 1, 4, 5: positives at 2 and 4
    easy = (Fraction(0, 1) + Fraction(1, 2)) / 4 + (Fraction(1, 3) + Fraction(2, 4)) / 4
    # medium leaves 0, 1, 3, 4, 5: positives at 2, 3 and 5
    medium = (Fraction(0) + Fraction(1, 2) + Fraction(1, 2) + Fraction(2, 3) + Fraction(2, 4) + Fraction(3, 5)) / 6
    # hard leaves 0, 3, 4: the positive at 2
    hard = (Fraction(0) + Fraction(1, 2)) / 2
    assert metrics == pytest.approx(
        {
            "mapE": float(easy), "mpE_at_1": 0, "mpE_at_2": 1 / 2, "mpE_at_5": 2 / 4,
            "mapM": float(medium), "mpM_at_1": 0, "mpM_at_2": 1 / 2, "mpM_at_5": 3 / 5,
            "mapH": float(hard), "mpH_at_1": 0, "mpH_at_2": 1 / 2, "mpH_at_5": 1 / 2,
            "num_queries": 1, "num_lone_queriesE": 0, "num_lone_queriesM": 0, "num_lone_queriesH": 0,
        }
    )  # fmt: skip


def test_average_precision_by_hand() -> None:
    assert average_precision(np.array([1, 2, 3])) == 1
    assert average_precision(np.array([2])) == 1 / 4
    assert average_precision(np.array([1, 4])) == pytest.approx((1 + 1 + 1 / 3 + 2 / 4) / 4)


def test_precision_looks_no_further_than_the_last_positive() -> None:
    assert precision_at(np.array([1, 3]), 10) == 2 / 3
    assert precision_at(np.array([1, 3]), 2) == 1 / 2
    assert precision_at(np.array([11]), 10) == 0


def test_junk_before_a_positive_is_as_if_it_were_not_there() -> None:
    others = on_a_circle([1, 2, 3, 10, 20, 30])
    with_junk = landmark_metrics(QUERY, others, truth([[3]], [[5]], [[0, 1, 2]]))
    without = landmark_metrics(QUERY, others[3:], truth([[0]], [[2]], [[]]))
    assert with_junk == without
    assert with_junk["mapE"] == 1 and with_junk["mapM"] == pytest.approx((1 + 1 + 1 / 2 + 2 / 3) / 4)


def test_an_equal_score_counts_against_the_query() -> None:
    # a wrong image, an easy and a hard answer at one place, a second answer and junk there too
    others = on_a_circle([10, 10, 10, 10, 10])
    metrics = landmark_metrics(QUERY, others, truth([[1, 3]], [[2]], [[4]]))
    assert metrics["mapE"] == pytest.approx((0 + 1 / 2 + 1 / 2 + 2 / 3) / 4)
    assert metrics["mapH"] == pytest.approx((0 + 1 / 2) / 2)
    assert metrics["mpM_at_1"] == 0 and metrics["mpM_at_5"] == 3 / 4


def test_duplicates_tie_whatever_the_product_rounds() -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((40, 257)).astype(np.float32)
    others = np.repeat(random.standard_normal((1, 257)), 101, axis=0).astype(np.float32)
    judged = truth([[100]] * 40, [[50]] * 40, [[0]] * 40)
    metrics = landmark_metrics(rows, others, judged)
    # 98 wrong images before the one positive
    assert metrics["mapE"] == metrics["mapH"] == 1 / 99 / 2
    assert metrics["mpE_at_10"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_laws_of_every_ranking(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, others, judged = random_case(seed + 100)
    values = per_query_landmarks(rows, others, judged)
    for name, found in values.items():
        kept = found[~np.isnan(found)]
        assert ((kept >= 0) & (kept <= 1)).all(), name
    order = random.permutation(len(others))
    place = np.argsort(order)
    shuffled = Truth(*(tuple(place[own] for own in kind) for kind in (judged.easy, judged.hard, judged.junk)))
    for name, found in per_query_landmarks(3 * rows, others[order], shuffled).items():
        np.testing.assert_array_equal(found, values[name])
    swapped = per_query_landmarks(rows, others, Truth(judged.hard, judged.easy, judged.junk))
    np.testing.assert_array_equal(swapped["mapE"], values["mapH"])
    np.testing.assert_array_equal(swapped["mapM"], values["mapM"])
    # one more wrong image that is no better than any answer changes nothing; one that is best pushes every answer back
    for extra, compare in ((-rows[:1], np.testing.assert_array_equal), (rows[:1], np.testing.assert_array_less)):
        longer = per_query_landmarks(rows[:1], np.concatenate([others, extra]), first(judged))
        here = per_query_landmarks(rows[:1], others, first(judged))
        compare(longer["mapM"], here["mapM"])


def first(judged: Truth) -> Truth:
    return Truth(judged.easy[:1], judged.hard[:1], judged.junk[:1])


@pytest.mark.parametrize("block", [1, 7, 100, 5000])
def test_memory_is_bounded_without_a_change(block: int) -> None:
    rows, others, judged = random_case(3)
    expected = per_query_landmarks(rows, others, judged)
    for name, found in per_query_landmarks(rows, others, judged, block=block).items():
        np.testing.assert_array_equal(found, expected[name])


def test_a_perfect_ranking_is_one() -> None:
    others = on_a_circle([1, 2, 3, 40, 50])
    metrics = landmark_metrics(QUERY, others, truth([[0, 1]], [[2]], [[]]))
    assert all(metrics[f"map{protocol}"] == metrics[f"mp{protocol}_at_10"] == 1 for protocol in "EMH")


def test_queries_without_a_positive_are_left_out_of_their_protocol_alone() -> None:
    others = on_a_circle([10, 20, 30])
    judged = truth([[0], [], []], [[], [2], []], [[], [], [1]])
    metrics = landmark_metrics(np.repeat(QUERY, 3, 0), others, judged)
    assert (metrics["mapE"], metrics["mapH"]) == (1, (0 + 1 / 3) / 2)
    assert metrics["mapM"] == pytest.approx((1 + 1 / 6) / 2)
    assert [metrics[f"num_lone_queries{protocol}"] for protocol in "EMH"] == [2, 1, 2]
    assert metrics["num_queries"] == 3


def test_kinds_of_input_agree_exactly() -> None:
    rows, others, judged = random_case(1)
    expected = landmark_metrics(rows, others, judged)
    assert landmark_metrics(torch.from_numpy(rows), torch.from_numpy(others), judged) == expected
    assert landmark_metrics(rows.astype(np.float64), 8 * others, judged) == expected
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert landmark_metrics(torch.from_numpy(rows), others, judged) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_exactly() -> None:
    rows, others, judged = random_case(2)
    on_gpu = landmark_metrics(torch.from_numpy(rows).cuda(), torch.from_numpy(others).cuda(), judged)
    assert on_gpu == landmark_metrics(rows, others, judged)


GOOD = truth([[0]], [[1]], [[2]])
OTHERS = on_a_circle([10, 20, 30])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((QUERY * np.nan, OTHERS, GOOD), "NaN or infinity"),
        ((QUERY, OTHERS[:0], GOOD), "gallery embeddings are empty"),
        ((QUERY, np.ones((3, 5)), GOOD), "2 dimensions, gallery embeddings 5"),
        ((np.repeat(QUERY, 2, 0), OTHERS, GOOD), "the ground truth has 1 queries, the embeddings 2"),
        ((QUERY, OTHERS, truth([[3]], [[1]], [[2]])), "none of the 3 positions"),
        ((QUERY, OTHERS, truth([[-1]], [[1]], [[2]])), "none of the 3 positions"),
        ((QUERY, OTHERS, truth([[0]], [[0]], [[2]])), "judges an image of the gallery twice"),
        ((QUERY, OTHERS, truth([[0]], [[]], [[2]])), "H: none of the 1 queries has a hard answer"),
        ((QUERY, OTHERS, GOOD, (0,)), "k=0"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_mistakes_are_refused(arguments: tuple, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError, match=said) as caught:
        landmark_metrics(*arguments)
    assert "\n" not in str(caught.value)


def test_metric_names_are_those_of_retrieval_metrics() -> None:
    random = np.random.default_rng(0)
    rows, labels = random.standard_normal((30, 4)), random.integers(0, 5, 30)
    for full in (False, True):
        found = retrieval_metrics(rows, labels, ks=(1, 7), full_ranking=full)
        assert (*metric_names((1, 7), full), "num_queries", "num_lone_queries") == tuple(found)
