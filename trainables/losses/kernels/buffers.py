"""Buffers far enough apart for sums that do not depend on where they lie.

A loop over several arrays is vectorised only where their beginnings are a few vectors apart; where they are nearer it
runs one by one, its sums have another order and another last bit. Where an allocator puts a small array is chance.
"""

import numpy as np
from numba import njit

from trainables.losses.kernels.options import INNER, Floats

APART = 256
"""Numbers on both sides: 1 KiB, twice eight vectors of 64 bytes."""


@njit(**INNER)
def buffer(size: int) -> Floats:
    """(size,) of zeros."""
    return np.zeros(size + 2 * APART, np.float32)[APART : APART + size]
