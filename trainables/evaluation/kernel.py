"""The compiled count of a tile: both its directions in one pass, 64 scores at a time.

Scores are compared as integers that have the same order, so one kernel serves float32 and bfloat16, a type that numba
does not know. The primitives that take 64 of them at once are in `lanes`.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .fixed import STEP
from .lanes import LANES, ones, ordered, reached, tallied, trailing_zeros

Floats = NDArray[np.float64]
Keys = NDArray[np.signedinteger[Any]]
Notes = tuple[NDArray[np.int32], NDArray[np.int32]]
Ints = NDArray[np.int16]

# More comparisons too near to call in one row than this many times its scores: the kernel gives up.
_ROOM = 4
_UNIT = STEP * STEP


@njit(nogil=True, cache=True)
def count_tile(
    keys: Keys,
    rows: NDArray[np.float32],
    columns: NDArray[np.float32],
    fixed_rows: Ints,
    fixed_columns: Ints,
    row_exact: Floats,
    column_exact: Floats,
    row_margin: Floats,
    column_margin: Floats,
    errors: tuple[float, float],
    most: int,
) -> tuple[bool, NDArray[np.int32], NDArray[np.int32]]:
    """(True, (a, P), (Q, w)): for each threshold of a tile's rows and of its columns, how many exact scores reach it.

    keys (a, w): the bits of the scores rows (a, D) @ columns (c, D).T, int16 for bfloat16, int32 for float32; w a
    multiple of LANES from c; -inf in what does not count and beyond c. They are overwritten. The thresholds
    row_exact (a, P) and column_exact (c, Q) rise, padded with +inf. A score, before its rounding to its type, is off
    by at most the margin (a,) of its row and (c,) of its column. errors bound the product of two rows of `Fixed`, which
    may be empty with an infinite error, and the float32 product.
    (False, no matter) where more than `most` comparisons are too near to call, or most of those of a row.
    """
    height, width = keys.shape
    flat, reach = keys.reshape(-1), row_exact.shape[1]
    bounds = _bounds(column_exact, column_margin, width, flat)
    counts = np.zeros((height, reach), np.int32)
    column_counts = np.zeros((column_exact.shape[1], width), np.int32)
    notes = np.empty(_ROOM * width, np.int32), np.empty(_ROOM * width, np.int32)
    products = np.empty(_ROOM * width, np.float64)
    total = 0
    for i in range(height):
        begin = i * width
        for c in range(begin, begin + width, LANES):
            ordered(flat, c)
        near = _scan_row(flat, begin, width, row_exact[i], row_margin[i], counts[i], notes)
        near = _scan_columns(flat, begin, width, bounds, reach, column_counts, notes, near)
        total += near
        if near < 0 or total > most:
            return False, counts, column_counts
        place = notes[0]
        for n in range(near):
            products[n] = _fixed_product(fixed_rows[i], fixed_columns[place[n]]) * _UNIT
        near = _settle(i, near, notes, products, errors[0], row_exact, column_exact, counts, column_counts)
        for n in range(near):
            products[n] = _product(rows[i], columns[place[n]])
        near = _settle(i, near, notes, products, errors[1], row_exact, column_exact, counts, column_counts)
        for n in range(near):
            products[n] = _exact_product(rows[i], columns[place[n]])
        _settle(i, near, notes, products, -1.0, row_exact, column_exact, counts, column_counts)
    return True, counts, column_counts


@njit(nogil=True)
def _scan_row(
    flat: Keys, begin: int, width: int, exact: Floats, margin: float, counts: NDArray[np.int32], notes: Notes
) -> int:
    """Counts what may reach each threshold of a row; notes what may not; how many notes, -1 for too many."""
    near = 0
    for p in range(len(exact)):
        low, high = _key(exact[p] - margin, flat, -1), _key(exact[p] + margin, flat, 0)
        passing = 0
        for c in range(0, width, LANES):
            may, doubtful = reached(flat, begin + c, low, high)
            passing += ones(may)
            near = _note(doubtful, c, p, notes, near)
        counts[p] = passing
        if not passing:
            break
        if near > (_ROOM - 1) * width:
            return -1
    return near


@njit(nogil=True)
def _scan_columns(
    flat: Keys,
    begin: int,
    width: int,
    bounds: tuple[Keys, Keys],
    reach: int,
    counts: NDArray[np.int32],
    notes: Notes,
    near: int,
) -> int:
    """The same for the thresholds of the columns, one score of each; their slots begin at `reach`."""
    low, high, tally = bounds[0].reshape(-1), bounds[1].reshape(-1), counts.reshape(-1)
    for p in range(len(counts)):
        if near < 0 or near > (_ROOM - 1) * width:
            return -1
        any_may = np.uint64(0)
        for c in range(0, width, LANES):
            may, doubtful = tallied(flat, begin + c, low, high, tally, p * width + c)
            any_may |= may
            near = _note(doubtful, c, reach + p, notes, near)
        if any_may == 0:
            break
    return near


@njit(nogil=True)
def _note(doubtful: Any, first: int, slot: int, notes: Notes, near: int) -> int:
    while doubtful != 0:
        notes[0][near] = first + trailing_zeros(doubtful)
        notes[1][near] = slot
        doubtful &= doubtful - np.uint64(1)
        near += 1
    return near


@njit(nogil=True)
def _settle(
    i: int,
    near: int,
    notes: Notes,
    products: Floats,
    error: float,
    row_exact: Floats,
    column_exact: Floats,
    counts: NDArray[np.int32],
    column_counts: NDArray[np.int32],
) -> int:
    """Takes back what was counted and does not reach; the notes that the error leaves open go first; how many."""
    place, slot = notes
    reach, left = row_exact.shape[1], 0
    for n in range(near):
        j, p = place[n], slot[n]
        exact = row_exact[i, p] if p < reach else column_exact[j, p - reach]
        above = products[n] - exact
        # Without a branch: half of all guesses would be wrong.
        place[left], slot[left] = j, p
        left += int(abs(above) <= error)
        below = np.int32(above < min(-error, 0.0))
        if p < reach:
            counts[i, p] -= below
        else:
            column_counts[p - reach, j] -= below
    return left


# Of 32 bits, so that the compiler finds the instruction that multiplies and adds pairs; see `fixed.STEP`.
@njit(nogil=True)
def _fixed_product(row: Ints, column: Ints) -> np.int32:
    total = np.int32(0)
    for k in range(len(row)):
        total = np.int32(total + np.int32(row[k]) * np.int32(column[k]))
    return total


# Any order of a sum is within the bound of a float32 product, and exact in float64: see `embeddings.unit_rows`.
@njit(nogil=True, fastmath={"reassoc", "contract"})
def _product(row: NDArray[np.float32], column: NDArray[np.float32]) -> np.float32:
    total = np.float32(0)
    for k in range(len(row)):
        total += row[k] * column[k]
    return total


@njit(nogil=True, fastmath={"reassoc", "contract"})
def _exact_product(row: NDArray[np.float32], column: NDArray[np.float32]) -> float:
    total = 0.0
    for k in range(len(row)):
        total += np.float64(row[k]) * np.float64(column[k])
    return total


@njit(nogil=True)
def _bounds(exact: Floats, margin: Floats, width: int, like: Keys) -> tuple[Keys, Keys]:
    """(c, Q), (c,) -> (Q, w) twice: the keys from which a score may reach a threshold, and beyond which it does."""
    never = np.iinfo(like.dtype).max
    low = np.full((exact.shape[1], width), never, like.dtype)
    high = np.full((exact.shape[1], width), never, like.dtype)
    for j in range(exact.shape[0]):
        for p in range(exact.shape[1]):
            low[p, j] = _key(exact[j, p] - margin[j], like, -1)
            high[p, j] = _key(exact[j, p] + margin[j], like, 0)
    return low, high


@njit(nogil=True)
def _key(value: float, like: Keys, zero: int) -> Any:
    """The key of `value` rounded to the type of the scores, to nearest, ties to even, as their products are rounded.

    Rounding keeps order: a score before it that is at least `value` has at least this key. A zero is either of the
    two zeros, the one that keeps this true.
    """
    bits = int(np.float32(value).view(np.int32))
    if value == 0:
        bits = 0 if zero == 0 else -(1 << 31)
    if like.itemsize == 2:
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return np.int16(bits ^ ((bits >> 15) & 0x7FFF))
    return np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))
