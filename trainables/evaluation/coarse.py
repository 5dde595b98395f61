"""A product in bfloat16 as a filter: what lies beyond its error bound is decided, the rest is for exact arithmetic."""

import time
from functools import lru_cache

import torch
from torch import Tensor

from .counting import rounding_bound
from .precision import Shape, full_float32

# So much faster than float32 it must be, because the comparisons that it leaves open cost time too.
_GAIN = 1.4
_TIMED = 5
# A bfloat16 has 8 bits: rounding adds at most this share to a number.
_UNIT = 2.0**-8


class Coarse:
    """Products of the rows in bfloat16, and how far they may be from those of the rows.

    A tile's part is rounded when it is multiplied: that costs a thirtieth of the product, a second copy of all rows 59
    MiB at the size of Stanford Online Products.
    """

    def __init__(self, query: Tensor, gallery: Tensor) -> None:
        """query (N, D), gallery (M, D): from `unit_rows`, the same tensor where there is no gallery."""
        self.query, self.query_error = query, _changed(query)
        self.gallery, self.gallery_error = gallery, self.query_error if gallery is query else _changed(gallery)

    def scores(self, rows: slice, columns: slice) -> Tensor:
        """(a, c) bfloat16 cosines."""
        return self.query[rows].bfloat16() @ self.gallery[columns].bfloat16().T

    def margins(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """(a,), (c,) float64: a bound, for each row and for each column, on what its products are off before rounding.

        |xy - x'y'| <= |x - x'| |y| + |x'| |y - y'| for the rounded x', y' (Cauchy and Schwarz), and |x'| <= |x| (1 +
        _UNIT). Adding up the products of x'y', each exact in float32, is `rounding_bound` as ever.
        """
        mine, theirs = self.query_error[rows], self.gallery_error[columns]
        factor = 1 + 2 * _UNIT  # and the lengths of unit rows, which may lie a little above 1
        added = rounding_bound(self.query.shape[1]) * factor**2
        return (mine + theirs.max()) * factor + added, (theirs + mine.max()) * factor + added


def _changed(rows: Tensor) -> Tensor:
    """(N, D) -> (N,) float64: by what length bfloat16 changes each row."""
    parts = rows.split(512)
    return torch.cat([torch.linalg.vector_norm((part - part.bfloat16()).double(), dim=1) for part in parts])


@lru_cache(maxsize=64)
def coarse_pays(shape: Shape) -> bool:
    """Whether products (a, D) @ (c, D).T in bfloat16 are much faster here than in float32; timed once a process."""
    a, c, dim = shape
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randn(size, dim, generator=generator) for size in (a, c))
    pairs = (rows, columns), (rows.bfloat16(), columns.bfloat16())
    with full_float32(torch.device("cpu"), [shape]):
        # in turn, and the shortest of each: a busy machine slows some of them, seldom all
        timed = [[_seconds(*pair) for pair in pairs] for _ in range(_TIMED)]
    exact, coarse = (min(times) for times in zip(*timed, strict=True))
    return exact >= _GAIN * coarse


@lru_cache(maxsize=256)
def coarse_is_faithful(shape: Shape) -> bool:
    """Whether they are what `Coarse.margins` rests on: sums in float32 and one rounding, to nearest, at the end."""
    a, c, dim = shape
    generator = torch.Generator().manual_seed(0)
    rows, columns = (1 + torch.rand(size, dim, generator=generator) for size in (a, c))
    rows, columns = (
        torch.nn.functional.normalize(part * (-1) ** torch.arange(dim)).bfloat16() for part in (rows, columns)
    )
    with torch.autocast("cpu", enabled=False):
        found = rows @ columns.T
    exact, error = rows.double() @ columns.double().T, rounding_bound(dim) / 2
    return bool(((found >= (exact - error).bfloat16()) & (found <= (exact + error).bfloat16())).all())


def _seconds(rows: Tensor, columns: Tensor) -> float:
    begin = time.perf_counter()
    rows @ columns.T
    return time.perf_counter() - begin
