"""The calibration loss: the numbers of `losses/contrast.py`, its plain form.

Negatives in passes over whole rows, the few positives one by one. Comparisons are written so that NaN stays visible.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trainables.losses.kernels.buffers import buffer
from trainables.losses.kernels.negatives import negatives
from trainables.losses.kernels.options import ENTRY, INNER, SUMS, Floats, Whole

STRIP = 256
"""Columns of which one thread finds the gradient, for all rows: then a column's sum has one order."""
ZERO = np.float32(0)


def strips(columns: int) -> int:
    """Into how many strips `calibration_gradient` cuts the columns."""
    return -(-columns // STRIP)


@njit(**INNER, fastmath=SUMS)
def _excess(row: Floats, margin: np.float32) -> tuple[int, np.float32]:
    """How many lie above the margin, and by how much together."""
    count, excess = 0, ZERO
    for j in range(row.size):
        above = not row[j] <= margin
        count += above
        excess += row[j] - margin if above else ZERO
    return count, excess


@njit(**ENTRY)
def violations(
    scores: Floats,
    by_class: Whole,
    first: Whole,
    counts: Whole,
    within_batch: bool,
    margins: tuple[float, float],
    rows: tuple[int, int],
    found: NDArray[np.float64],
) -> None:
    """Of scores (Q, M), rows[0] and every rows[1]-th after it: the pairs that violate their margin, found (Q, 4).

    Number and sum of pos_margin - s of the positives, number and sum of s - neg_margin of the negatives. The
    positives of row i are by_class[first[i] : first[i] + counts[i]]; within the batch the query is none.
    """
    pos_margin, neg_margin = np.float32(margins[0]), np.float32(margins[1])
    row = buffer(scores.shape[1])
    for i in range(rows[0], scores.shape[0], rows[1]):
        positives = by_class[first[i] : first[i] + counts[i]]
        negatives(scores[i], positives, 0, row)
        found[i, 2], found[i, 3] = _excess(row, neg_margin)
        near, missing = 0, 0.0
        for column in positives:
            s = scores[i, column]
            if not s >= pos_margin and not (within_batch and column == i):
                near += 1
                missing += pos_margin - s
        found[i, 0], found[i, 1] = near, missing


@njit(**INNER, fastmath=SUMS)
def _push(row: Floats, margin: np.float32, weight: np.float32, gradient: Floats, along: Floats) -> np.float32:
    """Writes the gradient on negatives, adds gradient * score to along (M,), returns its sum."""
    total = ZERO
    for j in range(row.size):
        above = not row[j] <= margin
        gradient[j] = weight if above else ZERO
        pushed = weight * row[j] if above else ZERO
        along[j] += pushed
        total += pushed
    return total


@njit(**ENTRY)
def calibration_gradient(
    scores: Floats,
    by_class: Whole,
    first: Whole,
    counts: Whole,
    within_batch: bool,
    margins: tuple[float, float],
    weights: tuple[float, float],
    which: tuple[int, int],
    gradient: Floats,
    lengths: Floats,
    along: Floats,
) -> None:
    """Of which[0] and every which[1]-th strip of columns after it, the gradient on the scores.

    weights: a violating positive's -weights[0], a negative's weights[1]. lengths (strips, Q), along (M,), of zeros:
    the sums of gradient * score over a row's part and over a column. The rest as in `violations`.
    """
    pos_margin, neg_margin = np.float32(margins[0]), np.float32(margins[1])
    pull, push = np.float32(-weights[0]), np.float32(weights[1])
    for strip in range(which[0], lengths.shape[0], which[1]):
        begin = strip * STRIP
        end = min(begin + STRIP, scores.shape[1])
        row, strip_along = buffer(end - begin), buffer(end - begin)
        for i in range(scores.shape[0]):
            positives = by_class[first[i] : first[i] + counts[i]]
            negatives(scores[i], positives, begin, row)
            total = _push(row, neg_margin, push, gradient[i, begin:end], strip_along)
            for column in positives:
                if begin <= column < end and not scores[i, column] >= pos_margin:
                    if within_batch and column == i:
                        continue
                    gradient[i, column] = pull
                    strip_along[column - begin] += pull * scores[i, column]
                    total += pull * scores[i, column]
            lengths[strip, i] = total
        for j in range(end - begin):
            along[begin + j] = strip_along[j]
