"""The average precisions, row by row: the numbers of `losses/average_precision.py`, its plain form.

A positive costs one pass over the row with sigma and one with a multiply-add, both within the cache.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from trainables.losses.kernels.buffers import buffer
from trainables.losses.kernels.negatives import NOWHERE, negatives
from trainables.losses.kernels.options import ENTRY, INNER, SUMS, Floats, Whole

Constants = tuple[Any, ...]

STRIP = 1024
"""References of which the nearest negative is known: a strip beyond the clamp is passed over."""

ZERO, ONE = np.float32(0), np.float32(1)
EVERYWHERE = np.float32(math.inf)
POWER = math.log2(math.e)
LAST_POWER = np.float32(126)
ROUNDING = np.float32(1.5 * 2**23)  # added to a small float32, it leaves the nearest whole number in the low bits
# 2^f for |f| <= 1/2, to 1e-7: exp2f of the Cephes library
C1, C2, C3 = np.float32(6.931472028550421e-1), np.float32(2.402264791363012e-1), np.float32(5.550332471162809e-2)
C4, C5, C6 = np.float32(9.618437357674640e-3), np.float32(1.339887440266574e-3), np.float32(1.535336188319500e-4)


def _low_bits_as_exponent(typing: Any, rounded: Any) -> Any:
    """n + ROUNDING -> 2^n, |n| <= 126."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        whole = ir.IntType(32)
        bits = builder.bitcast(arguments[0], whole)
        return builder.bitcast(builder.add(builder.shl(bits, whole(23)), whole(127 << 23)), ir.FloatType())

    return types.float32(types.float32), build


_power_of_two: Any = intrinsic(_low_bits_as_exponent)


@njit(**INNER, fastmath={"contract"})
def _sigma(power: np.float32, clamp: np.float32) -> np.float32:
    """1 / (1 + 2^-power); exactly 0 up to -clamp."""
    exponent = -power
    exponent = -LAST_POWER if exponent < -LAST_POWER else exponent  # as written, this keeps NaN
    rounded = exponent + ROUNDING
    f = exponent - (rounded - ROUNDING)
    fraction = ONE + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6)))))
    g = ONE / (ONE + fraction * _power_of_two(rounded))
    return ZERO if power <= -clamp else g


@njit(**INNER, fastmath=SUMS)
def _soft_pass(scores: Floats, t: np.float32, slope: Floats, constants: Constants) -> tuple[np.float32, np.float32]:
    """Where the step is sigma alone: writes its slopes against t, returns the sums of the steps and of the slopes."""
    scale, clamp, inverse, _, _, _, _, _ = constants
    steps = slopes = ZERO
    for j in range(scores.size):
        g = _sigma((scores[j] - t) * scale, clamp)
        d = (g - g * g) * inverse
        slope[j] = d
        steps += g
        slopes += d
    return steps, slopes


@njit(**INNER, fastmath=SUMS)
def _step_pass(scores: Floats, t: np.float32, slope: Floats, constants: Constants) -> tuple[np.float32, np.float32]:
    """The same with the jump at t and the linear piece."""
    scale, clamp, inverse, rho, delta, offset, start, _ = constants
    steps = slopes = ZERO
    for j in range(scores.size):
        difference = scores[j] - t
        g = _sigma(difference * scale, clamp)
        beyond = difference > delta
        d = rho if beyond else (g - g * g) * inverse
        slope[j] = d
        steps += rho * (difference - delta) + offset if beyond else g + (start if difference > ZERO else ZERO)
        slopes += d
    return steps, slopes


@njit(**INNER)
def _nearest(row: Floats, nearest: Floats) -> None:
    """The greatest score of every strip, +inf where one is NaN."""
    for strip in range(nearest.size):
        part = row[strip * STRIP : (strip + 1) * STRIP]
        top, unknown = NOWHERE, False
        for j in range(part.size):
            top = part[j] if part[j] > top else top
            unknown |= part[j] != part[j]
        nearest[strip] = EVERYWHERE if unknown else top


@njit(**INNER)
def _rank(
    row: Floats, nearest: Floats, t: np.float32, slope: Floats, constants: Constants
) -> tuple[float, float, bool]:
    """-> rank- of a positive at t, the sum of its slopes, and whether a negative is within the clamp at all."""
    scale, clamp, is_sigmoid = constants[0], constants[1], constants[7]
    rank, slopes, within = 0.0, 0.0, False
    for strip in range(nearest.size):
        part, part_slope = row[strip * STRIP : (strip + 1) * STRIP], slope[strip * STRIP : (strip + 1) * STRIP]
        if (nearest[strip] - t) * scale <= -clamp:
            for j in range(part.size):
                part_slope[j] = ZERO
            continue
        within = True
        if is_sigmoid or nearest[strip] <= t:
            steps, d = _soft_pass(part, t, part_slope, constants)
        else:
            steps, d = _step_pass(part, t, part_slope, constants)
        rank += steps
        slopes += d
    return rank, slopes, within


@njit(**INNER, fastmath=SUMS)
def _add(total: Floats, term: Floats, weight: np.float32) -> None:
    for j in range(total.size):
        total[j] += weight * term[j]


@njit(**INNER)
def _at_least(similarity: Floats, t: np.float32) -> int:
    count = 0
    for j in range(similarity.size):
        count += similarity[j] >= t
    return count


@njit(**INNER)
def _others(similarity: Floats, p: int, slope: Floats, constants: Constants) -> tuple[float, float]:
    """The sums of sigma and of its slopes over the other positives; writes the slopes, 0 at p."""
    t = similarity[p]
    similarity[p] = NOWHERE
    steps, slopes = _soft_pass(similarity, t, slope, constants)
    similarity[p] = t
    return steps, slopes


@njit(**INNER)
def _precision(
    similarity: Floats,
    row: Floats,
    nearest: Floats,
    constants: Constants,
    smooth: bool,
    share: float,
    gradient: Floats,
    pull: Floats,
) -> float:
    """AP of a query; adds -share times its gradient to gradient (M,), share times that of the positives to pull (P,).

    gradient is empty where it is not wanted.
    """
    slope, other_slope = buffer(row.size), buffer(similarity.size)
    precision = 0.0
    for p in range(similarity.size):
        rank, slopes, within = _rank(row, nearest, similarity[p], slope, constants)
        if not within:
            precision += 1 / similarity.size
            continue
        positives, push = float(_at_least(similarity, similarity[p])), 0.0
        if smooth:
            positives, push = _others(similarity, p, other_slope, constants)
            positives += 1
        whole = positives + rank
        precision += positives / whole / similarity.size
        if gradient.size == 0:
            continue
        weight = share * positives / (whole * whole) / similarity.size
        _add(gradient, slope, np.float32(weight))
        pull[p] += np.float32(weight * slopes)
        if smooth:
            weight = share * rank / (whole * whole) / similarity.size
            _add(pull, other_slope, np.float32(weight))
            pull[p] -= np.float32(weight * push)
    return precision


@njit(**ENTRY)
def average_precisions(
    scores: Floats,
    by_class: Whole,
    first: Whole,
    counts: Whole,
    step: tuple[float, ...],
    smooth: bool,
    share: float,
    rows: tuple[int, int],
    precision: NDArray[np.float64],
    gradient: Floats,
) -> None:
    """Of scores (Q, M), rows[0] and every rows[1]-th after it: AP, and -share times the gradient of AP.

    The positives of row i are by_class[first[i] : first[i] + counts[i]]; a row without one is left as it is.
    step: tau, rho, delta, offset, start of a Step, and the clamp. gradient: (Q, M) of zeros, or (Q, 0).
    """
    tau, rho, delta, offset, start, clamp = step
    constants = (
        *(np.float32(POWER / tau), np.float32(POWER * clamp), np.float32(1 / tau), np.float32(rho)),
        *(np.float32(delta), np.float32(offset), np.float32(start)),
        delta == np.inf,
    )
    row = buffer(scores.shape[1])
    nearest = np.empty((scores.shape[1] + STRIP - 1) // STRIP, np.float32)
    for i in range(rows[0], scores.shape[0], rows[1]):
        if counts[i] == 0:
            continue
        columns = by_class[first[i] : first[i] + counts[i]]
        similarity, pull = buffer(columns.size), buffer(columns.size)
        for p in range(columns.size):
            similarity[p] = scores[i, columns[p]]
        negatives(scores[i], columns, 0, row)
        _nearest(row, nearest)
        precision[i] = _precision(similarity, row, nearest, constants, smooth, share, gradient[i], pull)
        if gradient.size:
            for p in range(columns.size):
                gradient[i, columns[p]] = -pull[p]
