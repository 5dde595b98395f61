"""A row of scores without its positives."""

import math

import numpy as np
from numba import njit

from trainables.losses.kernels.options import INNER, Floats, Whole

NOWHERE = np.float32(-math.inf)


@njit(**INNER)
def negatives(scores: Floats, positives: Whole, begin: int, row: Floats) -> None:
    """Copies scores (M,) from begin on to row; -inf at the positives, which are given by their columns."""
    for j in range(row.size):  # a slice on the left would cost seconds to compile
        row[j] = scores[begin + j]
    for column in positives:
        if begin <= column < begin + row.size:
            row[column - begin] = NOWHERE
