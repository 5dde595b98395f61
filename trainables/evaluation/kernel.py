"""The compiled count of a tile: both its directions in one pass, 64 scores at a time.

Scores are compared as integers that have the same order. They are a tile of the float32 product, or come from the
product of 8-bit rows, which the kernel makes itself, six rows at a time, and writes to no tile: to what that leaves
open it adds the products with the next eight bits. The primitives that take 64 scores at once are in `lanes`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .lanes import LANES, doubted, doubted_each, ones, ordered, reached, scored, tallied, trailing_zeros
from .octets import HEIGHT, crossed, multiply, pack
from .rotated import FINER

Floats = NDArray[np.float32]
Exact = NDArray[np.float64]
Ints = NDArray[np.int32]
# The lowest and the highest key in doubt: (P, a) twice for the rows' thresholds, (Q, w) twice for the columns'.
Bounds = tuple[Ints, Ints, Ints, Ints]
Found = tuple[bool, Ints, Ints]

# Columns that stay near the core with all that is known of them, while the rows pass.
PANEL = 6 * LANES
_FINER = np.float32(1 / FINER)


class Tile(NamedTuple):
    """What decides the comparisons of rows (a, D) with columns (c, D)."""

    rows: Floats
    columns: Floats
    row_exact: Exact  # (a, P) thresholds, rising, padded with +inf
    column_exact: Exact  # (c, Q)
    margin: float  # by which a score is off at most
    error: float  # of a float32 product
    most: int  # pairs too near to call: more, and the kernel gives up


class Eight(NamedTuple):
    """The same rows and columns in eight bits, and the next eight: from `rotated.octets`."""

    rows: Ints  # (a, K), four numbers in each
    columns: Ints  # (c, K)
    rest_rows: Ints  # (a, K)
    rest_columns: Ints  # (c, K)
    sums: Ints  # (c,) of each column's numbers
    rest_sums: Ints  # (c,)
    row_scale: Floats  # (a,) what 1 stands for
    column_scale: Floats  # (c,)
    row_margin: Floats  # (a,) the product of two is off by at most the sum of their margins
    column_margin: Floats  # (c,)
    skipped: Ints  # (a, 2): of each row the columns from the one number, before the other, do not count


@njit(nogil=True, cache=True)
def count_keys(keys: Ints, tile: Tile) -> Found:
    """(True, (a, P), (Q, w)): for each threshold of a tile's rows and of its columns, how many exact scores reach it.

    keys (a, w): the bits of the float32 scores; w a multiple of LANES from c; -inf in what does not count and beyond c.
    They are overwritten. (False, no matter) where the kernel gave up.
    """
    height, width = keys.shape
    bounds, counts, column_counts = _prepared(tile, width)
    total, flat = 0, keys.reshape(-1)
    for at in range(0, len(flat), LANES):
        ordered(flat, at)
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        total += count_rows(0, height, flat, width, left, right, bounds, tile, counts, column_counts)
        if total > tile.most:
            return False, counts, column_counts
    return True, counts, column_counts


@njit(nogil=True, cache=True)
def count_octets(eight: Eight, tile: Tile) -> Found:
    """The same of scores that are made here from rows in eight bits; `tile.margin` is that with the next eight."""
    height, missing = len(eight.rows), -len(eight.columns) % LANES
    width = len(eight.columns) + missing
    packed, starts = pack(eight.columns, eight.sums)
    strip, four = np.empty(HEIGHT * width, np.int32), np.empty(HEIGHT * eight.rows.shape[1], np.int32)
    counts = np.zeros(tile.row_exact.shape, np.int32)
    column_counts = np.zeros((tile.column_exact.shape[1], width), np.int32)
    scale, margin = np.ones(width, np.float32), np.zeros(width, np.float32)
    scale[: width - missing], margin[: width - missing] = eight.column_scale, eight.column_margin
    exact, turned = tile.row_exact.astype(np.float32), np.full(column_counts.shape, np.inf, np.float32)
    turned[:, : width - missing] = tile.column_exact.T
    thresholds, tally = turned.reshape(-1), column_counts.reshape(-1)
    depth, scores = eight.rows.shape[1], strip.view(np.float32)
    codes, rest = eight.rows.reshape(-1), eight.rest_rows.reshape(-1)
    others, others_rest = eight.columns.reshape(-1), eight.rest_columns.reshape(-1)
    lower, upper = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    doubts = np.empty(exact.shape[1] + len(turned), np.uint64)  # of 64 columns: a row's thresholds, then theirs
    never, total = np.iinfo(np.int32).min, 0
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        for first in range(0, height, HEIGHT):
            multiply(eight.rows[first : first + HEIGHT], packed, starts, left, right, four, strip)
            for i in range(first, min(first + HEIGHT, height)):
                begin = (i - first) * width
                strip[begin + max(eight.skipped[i, 0], left) : begin + min(eight.skipped[i, 1], right)] = never
                strip[begin + width - missing : begin + width] = never
                for c in range(left, right, LANES):
                    scored(strip, begin + c, scale, margin, c, eight.row_scale[i], eight.row_margin[i], lower, upper)
                    near, passed, column_passed = np.uint64(0), 0, 0
                    # The thresholds rise: where none of 64 scores reaches one, none reaches the next.
                    for p in range(exact.shape[1]):
                        may, doubt = doubted(lower, upper, exact[i, p])
                        if may == 0:
                            break
                        counts[i, p] += ones(may) - ones(doubt)
                        doubts[p], near, passed = doubt, near | doubt, p + 1
                    for p in range(len(turned)):
                        may, doubt = doubted_each(lower, upper, thresholds, tally, p * width + c)
                        if may == 0:
                            break
                        doubts[passed + p], near, column_passed = doubt, near | doubt, p + 1
                    if near == 0:
                        continue
                    total += ones(near)
                    while near != 0:
                        j = c + trailing_zeros(near)
                        near &= near - np.uint64(1)
                        product = crossed(codes, rest, i * depth, others, others_rest, j * depth, depth)
                        product -= 128 * (eight.sums[j] + eight.rest_sums[j])
                        scores[begin + j] += np.float32(product) * (eight.row_scale[i] * scale[j] * _FINER)
                    for n in range(passed + column_passed):
                        of_row, doubt = n < passed, doubts[n]
                        p = n if of_row else n - passed
                        while doubt != 0:
                            j = c + trailing_zeros(doubt)
                            doubt &= doubt - np.uint64(1)
                            bound = tile.row_exact[i, p] if of_row else tile.column_exact[j, p]
                            above = scores[begin + j] - bound
                            reaches = np.int32(above >= -tile.margin)
                            if abs(above) <= tile.margin:
                                reaches -= _below(tile.rows, tile.columns, i, j, bound, tile.error)
                                total += 1
                            if of_row:
                                counts[i, p] += reaches
                            else:
                                column_counts[p, j] += reaches
            if total > tile.most:
                return False, counts, column_counts
    return True, counts, column_counts


@njit(nogil=True)
def count_rows(
    first: int,
    last: int,
    keys: Ints,
    width: int,
    left: int,
    right: int,
    bounds: Bounds,
    tile: Tile,
    counts: Ints,
    column_counts: Ints,
) -> int:
    """Counts the rows from `first`, keys[(i - first) * width:] of each, with some columns in both directions.

    How many of the comparisons were too near to call; it stops where these are more than `tile.most`.
    """
    row_low, row_high, column_low, column_high = bounds
    low, high, tally = column_low.reshape(-1), column_high.reshape(-1), column_counts.reshape(-1)
    total = 0
    for i in range(first, last):
        for c in range(left, right, LANES):
            at = (i - first) * width + c
            for p in range(counts.shape[1]):
                may, doubt = reached(keys, at, row_low[p, i], row_high[p, i])
                if may == 0:
                    break
                counts[i, p] += ones(may)
                while doubt != 0:
                    j = c + trailing_zeros(doubt)
                    doubt &= doubt - np.uint64(1)
                    counts[i, p] -= _below(tile.rows, tile.columns, i, j, tile.row_exact[i, p], tile.error)
                    total += 1
            for p in range(len(column_counts)):
                may, doubt = tallied(keys, at, low, high, tally, p * column_low.shape[1] + c)
                if may == 0:
                    break
                while doubt != 0:
                    j = c + trailing_zeros(doubt)
                    doubt &= doubt - np.uint64(1)
                    column_counts[p, j] -= _below(tile.rows, tile.columns, i, j, tile.column_exact[j, p], tile.error)
                    total += 1
        if total > tile.most:
            break
    return total


@njit(nogil=True)
def _below(rows: Floats, columns: Floats, i: int, j: int, exact: float, error: float) -> np.int32:
    """1 where the score of row i and column j is below `exact`, else 0."""
    above = _product(rows[i], columns[j]) - exact
    if abs(above) <= error:
        above = _exact_product(rows[i], columns[j]) - exact
    return np.int32(above < 0)


# Any order of a sum is within the bound of a float32 product, and exact in float64: see `embeddings.unit_rows`.
@njit(nogil=True, fastmath={"reassoc", "contract"})
def _product(row: Floats, column: Floats) -> np.float32:
    total = np.float32(0)
    for k in range(len(row)):
        total += row[k] * column[k]
    return total


@njit(nogil=True, fastmath={"reassoc", "contract"})
def _exact_product(row: Floats, column: Floats) -> float:
    total = 0.0
    for k in range(len(row)):
        total += np.float64(row[k]) * np.float64(column[k])
    return total


@njit(nogil=True)
def _prepared(tile: Tile, width: int) -> tuple[Bounds, Ints, Ints]:
    """The bounds of a tile's keys, and counts of zero (a, P), (Q, w)."""
    row_low, row_high = _bounds(tile.row_exact, tile.margin, len(tile.rows))
    column_low, column_high = _bounds(tile.column_exact, tile.margin, width)
    counts = np.zeros(tile.row_exact.shape, np.int32)
    return (row_low, row_high, column_low, column_high), counts, np.zeros(column_low.shape, np.int32)


@njit(nogil=True)
def _bounds(exact: Exact, margin: float, width: int) -> tuple[Ints, Ints]:
    """(n, P) -> (P, w) twice: the keys from which a score may reach a threshold, and beyond which it does."""
    never = np.iinfo(np.int32).max
    low = np.full((exact.shape[1], width), never, np.int32)
    high = np.full((exact.shape[1], width), never, np.int32)
    for j in range(exact.shape[0]):
        for p in range(exact.shape[1]):
            low[p, j] = _key(exact[j, p] - margin, -1)
            high[p, j] = _key(exact[j, p] + margin, 0)
    return low, high


@njit(nogil=True)
def _key(value: float, zero: int) -> np.int32:
    """The key of `value` as float32. A zero is either of the two zeros, as `zero` is -1 or 0."""
    bits = int(np.float32(value).view(np.int32))
    if value == 0:
        bits = 0 if zero == 0 else -(1 << 31)
    return np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))
