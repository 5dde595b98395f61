"""The rows in 16-bit fixed point: half the bytes of float32, for what eight bits leave open."""

import torch
from torch import Tensor

# A product of two unit rows is below 2^31 in units of the square of this step, as is every part of its sum.
STEP = 2.0**-15
_LARGEST = 2**15 - 1
_FILLED = 128  # what `octets.paired` takes at once


class Fixed:
    """Rows whose integer products, times the square of STEP, are off by at most `error`."""

    def __init__(self, query: Tensor, gallery: Tensor) -> None:
        """query (N, D), gallery (M, D): from `unit_rows`, the same tensor where there is no gallery."""
        self.query, mine = _rounded(query)
        self.gallery, theirs = (self.query, mine) if gallery is query else _rounded(gallery)
        # |xy - x'y'| <= |x - x'| |y| + |x'| |y - y'|, with lengths of at most 1.01. The sum of integers is exact.
        self.error = (mine + theirs) * 1.01

    def part(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor, float]:
        """(a, K) int16, (c, K) int16, the error of their products; K: D, filled up with zeros."""
        return self.query[rows], self.gallery[columns], self.error


def _rounded(rows: Tensor) -> tuple[Tensor, float]:
    """(N, D) -> (N, K) int16, and by what length a row changed at most."""
    dim = rows.shape[1]
    rounded, most = torch.zeros((len(rows), dim + -dim % _FILLED), dtype=torch.int16), 0.0
    for into, part in zip(rounded[:, :dim].split(512), rows.split(512), strict=True):
        into.copy_((part / STEP).round_().clamp_(-_LARGEST, _LARGEST))
        most = max(most, float(torch.linalg.vector_norm(part.double() - into.double() * STEP, dim=1).max()))
    return rounded, most
