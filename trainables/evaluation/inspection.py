"""What a network does with a split, query by query: who its neighbours are, what is hard, what is taken for what."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .embeddings import Embeddings, class_codes
from .metrics import per_query_metrics
from .neighbours import nearest_neighbours

NEIGHBOURS = 10


@dataclass(frozen=True)
class Inspection:
    """N queries against each other.

    labels (N,) int64, from 0 without a gap; positives (N,): others of the query's class. neighbours (N, K): positions,
    most similar first, -1 where there are no more; right (N, K): of the query's class. map_at_r, recall_at_1,
    reciprocal_rank (of the first right one): (N,), NaN where a query has no positive.
    """

    labels: NDArray[np.int64]
    positives: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    right: NDArray[np.bool_]
    map_at_r: NDArray[np.float64]
    recall_at_1: NDArray[np.float64]
    reciprocal_rank: NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """`count` of the `queries` of class `label` have a picture of class `other` as the nearest wrong one.

    Where a right one should be: among the first R, of R that are right. rank: its mean place, from 1. examples: those
    queries with that picture, the nearest first.
    """

    label: int
    other: int
    count: int
    queries: int
    rank: float
    examples: tuple[tuple[int, int], ...]


def inspected(embeddings: Embeddings, labels: NDArray[np.int64], k: int = NEIGHBOURS) -> Inspection:
    """embeddings (N, D), labels (N,) -> the first k neighbours and the scores of each. UserError as metrics have it."""
    scores = per_query_metrics(embeddings, labels, ks=(1,), full_ranking=True)
    (codes,) = class_codes([("query", labels, len(embeddings))])
    neighbours = nearest_neighbours(embeddings, k=k)[1]
    right = (codes[neighbours] == codes[:, None]) & (neighbours >= 0)
    return Inspection(
        codes,
        np.bincount(codes)[codes] - 1,
        neighbours,
        right,
        scores["map_at_r"],
        scores["recall_at_1"],
        scores["mrr"],
    )


def hardest(found: Inspection, count: int) -> list[int]:
    """Queries with the lowest AP@R, among equal ones those whose first right picture comes last; one of a class."""
    return _one_a_class(found, _by_difficulty(found), count)


def median(found: Inspection, count: int) -> list[int]:
    """The queries in the middle of that order, from the middle outwards; one of a class."""
    order = _by_difficulty(found)
    middle = (len(order) - 1) / 2
    outwards = sorted(range(len(order)), key=lambda place: (abs(place - middle), place))
    return _one_a_class(found, [order[place] for place in outwards], count)


def confusions(found: Inspection) -> list[Confusion]:
    """Every pair of classes that is confused, the most confused first.

    By its share of the class' queries, of which one more is counted: two of two say less than nine of ten. Then by
    rank, then by the classes' numbers.
    """
    places = np.arange(found.neighbours.shape[1])
    wrong = ~found.right & (found.neighbours >= 0) & (places < found.positives[:, None])
    first = wrong.argmax(1)
    told: dict[tuple[int, int], list[tuple[int, int, int]]] = {}  # (place, query, neighbour)
    for query in map(int, np.flatnonzero(wrong.any(1))):
        neighbour = int(found.neighbours[query, first[query]])
        pair = int(found.labels[query]), int(found.labels[neighbour])
        told.setdefault(pair, []).append((int(first[query]) + 1, query, neighbour))
    sizes = np.bincount(found.labels)
    known = [
        Confusion(
            *pair,
            len(seen),
            int(sizes[pair[0]]),
            sum(place for place, _, _ in seen) / len(seen),
            tuple((query, neighbour) for _, query, neighbour in sorted(seen)),
        )
        for pair, seen in told.items()
    ]
    return sorted(known, key=lambda one: (-one.count / (one.queries + 1), one.rank, one.label, one.other))


def most_confused(found: Inspection, count: int) -> list[Confusion]:
    """The first of `confusions`; of two classes that are each taken for the other the more confused one."""
    chosen: dict[frozenset[int], Confusion] = {}
    for one in confusions(found):
        if len(chosen) == count:
            break
        chosen.setdefault(frozenset((one.label, one.other)), one)
    return list(chosen.values())


def group_means(values: NDArray[np.float64], groups: NDArray[np.int64]) -> dict[int, float]:
    """The mean of the values (N,) of each group (N,), NaN left out; groups that have nothing else are left out."""
    known = ~np.isnan(values)
    numbers, place = np.unique(groups[known], return_inverse=True)
    means = np.bincount(place, weights=values[known]) / np.bincount(place)
    return {int(number): float(mean) for number, mean in zip(numbers, means, strict=True)}


def _by_difficulty(found: Inspection) -> list[int]:
    """Queries with a positive, the hardest first; equally hard ones as they are listed."""
    order = np.lexsort((found.reciprocal_rank, found.map_at_r))
    return [int(query) for query in order if not np.isnan(found.map_at_r[query])]


def _one_a_class(found: Inspection, queries: Iterable[int], count: int) -> list[int]:
    chosen: dict[int, int] = {}
    for query in queries:
        if len(chosen) == count:
            break
        chosen.setdefault(int(found.labels[query]), query)
    return list(chosen.values())
