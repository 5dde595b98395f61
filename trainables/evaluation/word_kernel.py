"""The compiled count of a tile of rows in sixteen bits: their products are the keys that it compares."""

from typing import NamedTuple

import numpy as np
from numba import njit

from .kernel import PANEL, Exact, Found, Ints, Tile, count_rows
from .lanes import LANES
from .words import HEIGHT, WIDTH, multiply, pack

_MOST = np.iinfo(np.int32).max
_NEVER = -_MOST - 1  # below every threshold


class Sixteen(NamedTuple):
    """The rows and columns of a tile in sixteen bits: from `rounded.rounded`."""

    rows: Ints  # (a, K), two numbers in each
    columns: Ints  # (c, K)
    skipped: Ints  # (a, 2): of each row the columns from the one number, before the other, do not count
    unit: float  # what a product of two unit rows is here


@njit(nogil=True, cache=True)
def count_words(sixteen: Sixteen, tile: Tile) -> Found:
    """As `kernel.count_keys`, of products that are made here; `tile.margin` is theirs."""
    height, count = len(sixteen.rows), len(sixteen.columns)
    width = count + -count % LANES
    depth = sixteen.rows.shape[1]
    packed = pack(sixteen.rows, HEIGHT, height + -height % HEIGHT)
    packed_columns = pack(sixteen.columns, WIDTH, width)
    strip = np.empty(HEIGHT * width, np.int32)
    row_low, row_high = _bounds(tile.row_exact, sixteen.unit, tile.margin, height)
    column_low, column_high = _bounds(tile.column_exact, sixteen.unit, tile.margin, width)
    bounds = row_low, row_high, column_low, column_high
    counts, column_counts = np.zeros(tile.row_exact.shape, np.int32), np.zeros(column_low.shape, np.int32)
    total = 0
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        for first in range(0, height, HEIGHT):
            some = packed[first * depth : (first + HEIGHT) * depth]
            multiply(some, packed_columns, depth, left, right, strip, width)
            for i in range(first, min(first + HEIGHT, height)):
                begin = (i - first) * width
                from_column, to_column = sixteen.skipped[i]
                strip[begin + max(from_column, left) : begin + min(to_column, right)] = _NEVER
                strip[begin + max(count, left) : begin + right] = _NEVER
            last = min(first + HEIGHT, height)
            total += count_rows(first, last, strip, width, left, right, bounds, tile, counts, column_counts)
            if total > tile.most:
                return False, counts, column_counts
    return True, counts, column_counts


@njit(nogil=True)
def _bounds(exact: Exact, unit: float, margin: float, width: int) -> tuple[Ints, Ints]:
    """(n, P) -> (P, w) twice: the products from which a pair may reach a threshold, and beyond which it does."""
    low = np.full((exact.shape[1], width), _MOST, np.int32)
    high = np.full((exact.shape[1], width), _MOST, np.int32)
    for j in range(exact.shape[0]):
        for p in range(exact.shape[1]):
            if exact[j, p] < np.inf:
                low[p, j] = int(max(np.floor(exact[j, p] * unit - margin), -float(_MOST)))
                high[p, j] = int(min(np.ceil(exact[j, p] * unit + margin), float(_MOST)))
    return low, high
