"""Retrieval metrics the slow, obvious way: exact fractions of sorted lists, one query after the other."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def ranked_metrics(relevant: list[bool], ks: tuple[int, ...]) -> dict[str, float]:
    """relevant: the gallery in ranked order, True for a positive (at least one)."""
    total = sum(relevant)
    places = [place for place, hit in enumerate(relevant, start=1) if hit]
    precisions = [Fraction(found, place) for found, place in enumerate(places, start=1)]
    values = {f"recall_at_{k}": Fraction(places[0] <= k) for k in ks}
    values["precision_at_1"] = Fraction(relevant[0])
    values["r_precision"] = Fraction(sum(relevant[:total]), total)
    inside = [value for value, place in zip(precisions, places, strict=True) if place <= total]
    values["map_at_r"] = Fraction(sum(inside, start=Fraction(0)), total)
    values["map"] = Fraction(sum(precisions, start=Fraction(0)), total)
    values["mrr"] = Fraction(1, places[0])
    return {name: float(value) for name, value in values.items()}


def slow_metrics(
    query: NDArray[np.floating],
    query_labels: NDArray[np.int64],
    gallery: NDArray[np.floating] | None = None,
    gallery_labels: NDArray[np.int64] | None = None,
    ks: tuple[int, ...] = (1, 10, 100, 1000),
) -> list[dict[str, float] | None]:
    """For every query its metrics, or None without a positive. A negative goes before a positive of equal score.

    Scores are float64 rounded to 1e-10, so that equal rows tie whatever the product's rounding.
    """
    alone = gallery is None
    others, other_labels = (query, query_labels) if gallery is None else (gallery, gallery_labels)
    assert other_labels is not None

    def unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
        rows = rows.astype(np.float64)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)

    result: list[dict[str, float] | None] = []
    for i, row in enumerate(unit(query)):
        scores = np.round(unit(others) @ row, 10)
        order = sorted(
            (j for j in range(len(others)) if not (alone and i == j)),
            key=lambda j: (-scores[j], other_labels[j] == query_labels[i]),
        )
        relevant = [bool(other_labels[j] == query_labels[i]) for j in order]
        result.append(ranked_metrics(relevant, ks) if any(relevant) else None)
    return result
