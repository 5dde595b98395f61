"""The count of a bfloat16 tile without the compiled kernel: a pass of numpy over it for each threshold.

Scores are compared as 16-bit integers of the same order, which numpy does 32 at a time, and the flags of a comparison
are added up eight at a time. What is too near to call is a sparse matrix of exact products.
"""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Keys = NDArray[np.int16]
Flags = NDArray[np.bool_]
Places = NDArray[np.int64]
_WORD = 8
# So many bytes, each 0 or 1, add up in their place of a word without a carry into the next.
_WITHOUT_CARRY = 255


def count_passes(
    scores: Tensor,
    rows: Tensor,
    columns: Tensor,
    exact: Tensor,
    turned: Tensor,
    margins: Tensor,
    turned_margins: Tensor,
    near: float,
) -> tuple[Tensor, Tensor] | None:
    """(a, P), (c, Q) int32: for each threshold of the rows and of the columns, how many exact scores reach it.

    scores (a, c) bfloat16 = rows (a, D) @ columns (c, D).T, -inf in what does not count; exact (a, P) and turned
    (c, Q) float64 thresholds, rising, padded with +inf. A score, before its rounding to bfloat16, is off by at most
    the margin (a,) of its row and (c,) of its column. None where more than the share `near` is too near to call.
    """
    keys = np.full((len(rows), len(columns) + -len(columns) % _WORD), np.iinfo(np.int16).min, np.int16)
    keys[:, : len(columns)] = _keys(scores)
    sides = _Side.of(exact, margins, 1), _Side.of(turned, turned_margins, 0)
    doubtful = np.zeros(keys.shape, np.bool_)
    counts = [side.count(keys, doubtful) for side in sides]
    places = np.flatnonzero(doubtful)
    if len(places) > near * keys.size:
        return None
    values = keys.reshape(-1)[places]
    row = places // keys.shape[1]
    column = places - row * keys.shape[1]
    products = _products(row, column, rows, columns)
    for side, count, index in zip(sides, counts, (row, column), strict=True):
        side.take_back(count, values, products, index)
    return torch.from_numpy(counts[0]), torch.from_numpy(counts[1])


@dataclass(frozen=True)
class _Side:
    """The thresholds of the rows (axis 1, along which their scores lie), or of the columns (axis 0)."""

    exact: NDArray[np.float64]  # (n, P)
    low: Keys  # (n, P): from here a score may reach the threshold,
    high: Keys  # and beyond here it does
    axis: int

    @classmethod
    def of(cls, exact: Tensor, margins: Tensor, axis: int) -> "_Side":
        # Rounding keeps order. Of the two zeros each takes the one that lets every score through that may be there.
        low, high = (exact - margins[:, None]).bfloat16(), (exact + margins[:, None]).bfloat16()
        low, high = low.masked_fill_(low == 0, -0.0), high.masked_fill_(high == 0, 0.0)
        return cls(exact.numpy(), _keys(low), _keys(high), axis)

    def count(self, keys: Keys, doubtful: Flags) -> NDArray[np.int32]:
        """(n, P): what may reach each threshold; marks in `doubtful` what may not."""
        counts = np.zeros(self.low.shape, np.int32)
        may, at_most = np.empty_like(doubtful), np.empty_like(doubtful)
        for p in range(self.low.shape[1]):
            low, high = self._along(self.low[:, p], keys), self._along(self.high[:, p], keys)
            np.greater_equal(keys, low, out=may)
            counts[:, p] = _added(may, self.axis)[: len(counts)]
            may &= np.less_equal(keys, high, out=at_most)
            doubtful |= may
        return counts

    def _along(self, bounds: Keys, keys: Keys) -> Keys:
        if self.axis == 1:
            return bounds[:, None]
        never = np.iinfo(np.int16).max
        return np.pad(bounds, (0, keys.shape[1] - len(bounds)), constant_values=never)[None]

    def take_back(self, counts: NDArray[np.int32], values: Keys, products: NDArray[np.float64], index: Places) -> None:
        """What was in doubt and whose exact product is below the threshold; index: its row or column."""
        for p in range(counts.shape[1]):
            below = products < self.exact[index, p]
            below &= (values >= self.low[index, p]) & (values <= self.high[index, p])
            counts[:, p] -= np.bincount(index[below], minlength=len(counts)).astype(np.int32)


def _keys(scores: Tensor) -> Keys:
    """The bits of bfloat16 numbers as integers of the same order, -0 right below +0."""
    bits: Keys = scores.view(torch.int16).numpy()
    return bits ^ ((bits >> 15) & 0x7FFF)


def _added(flags: Flags, axis: int) -> NDArray[np.int64]:
    """flags (a, w), w a multiple of 8 -> how many are set along the axis."""
    words = flags.view(np.uint64)
    total = np.zeros(flags.shape[1 - axis], np.int64)
    for part in range(0, words.shape[axis], _WITHOUT_CARRY):
        some = slice(part, part + _WITHOUT_CARRY)
        if axis == 1:
            total += np.add.reduce(words[:, some], axis=1)[:, None].view(np.uint8).sum(1, dtype=np.int64)
        else:
            total += np.add.reduce(words[some], axis=0).view(np.uint8)
    return total


def _products(row: Places, column: Places, rows: Tensor, columns: Tensor) -> NDArray[np.float64]:
    """(n,) exact products of rows[row] and columns[column]; row does not fall."""
    _accept_sparse()
    starts = torch.from_numpy(np.searchsorted(row, np.arange(len(rows) + 1)))
    empty = torch.zeros(len(row), dtype=torch.float64)
    wanted = torch.sparse_csr_tensor(
        starts, torch.from_numpy(column), empty, (len(rows), len(columns)), check_invariants=False
    )
    return torch.sparse.sampled_addmm(wanted, rows.double(), columns.double().T, beta=0.0).values().numpy()


@cache
def _accept_sparse() -> None:
    """torch says once a process that its sparse rows are new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], [], (1, 1))
