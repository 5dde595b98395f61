"""The protocols of Revisited Oxford and Paris the slow, obvious way: fractions of one sorted list after another."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

KINDS = {"E": ({"easy"}, {"hard", "junk"}), "M": ({"easy", "hard"}, {"junk"}), "H": ({"hard"}, {"easy", "junk"})}


def ranked_landmarks(relevant: list[bool], ks: Sequence[int]) -> dict[str, Fraction]:
    """relevant: the ranking without what is left out, True for a positive (at least one)."""
    total = sum(relevant)
    area = Fraction(0)
    found = 0
    for place, hit in enumerate(relevant, start=1):
        if hit:
            before = Fraction(1) if place == 1 else Fraction(found, place - 1)
            found += 1
            area += (before + Fraction(found, place)) / 2 * Fraction(1, total)
    last = max(place for place, hit in enumerate(relevant, start=1) if hit)
    precisions = {f"at_{k}": Fraction(sum(relevant[: min(k, last)]), min(k, last)) for k in ks}
    return {"map": area, **precisions}


def slow_landmarks(
    query: NDArray[np.floating],
    gallery: NDArray[np.floating],
    easy: Sequence[Sequence[int]],
    hard: Sequence[Sequence[int]],
    junk: Sequence[Sequence[int]],
    ks: Sequence[int] = (1, 5, 10),
) -> list[dict[str, Fraction]]:
    """For every query its metrics, keyed as ours, without the protocols in which it has no positive.

    Scores are float64 rounded to 1e-10, so that equal rows tie whatever the product's rounding. Of equal scores, what
    is wrong comes first.
    """

    def unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
        rows = rows.astype(np.float64)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)

    result = []
    for i, row in enumerate(unit(query)):
        judged = {"easy": set(easy[i]), "hard": set(hard[i]), "junk": set(junk[i])}
        scores = np.round(unit(gallery) @ row, 10)
        values: dict[str, Fraction] = {}
        for protocol, (right, ignored) in KINDS.items():
            positives = set().union(*(judged[kind] for kind in right))
            left_out = set().union(*(judged[kind] for kind in ignored))
            ranking = [j for j in range(len(gallery)) if j not in left_out]
            ranking.sort(key=lambda j: (-scores[j], j in positives))
            if positives:
                for name, value in ranked_landmarks([j in positives for j in ranking], ks).items():
                    values[f"map{protocol}" if name == "map" else f"mp{protocol}_{name}"] = value
        result.append(values)
    return result
