"""A tile of scores, counted in its rows and in its columns by the fastest of the ways that this machine has.

All give the same counts. The product: bfloat16 first where it is fast and the kernel counts, float32 where that leaves
too much open. The count: the compiled kernel, or without numba torch and numpy.
"""

import threading
from collections.abc import Collection
from functools import cache

import torch
from torch import Tensor

from .coarse import Coarse, coarse_is_faithful, coarse_pays
from .counting import counts_against, rounding_bound
from .fixed import Fixed
from .precision import Shape
from .search import Search, length

# Fewer tiles are counted before the kernel is loaded and bfloat16 is timed.
FEW_TILES = 128
# Of a tile: more comparisons too near to call than this share cost more than a product in float32.
NEAR = 1 / 12
# Thresholds a row: above, sorting the scores is cheaper than passing over them for each.
WIDEST = 256
# Tiles that bfloat16 left open, at least and of those tried: then it is not tried any more.
_LEFT_OPEN, _SHARE = 4, 1 / 3

Counts = tuple[Tensor, Tensor]


class Tally:
    """The counts (a, P) int32 of a block of rows, tile after tile, from any thread: sums, so the order is free."""

    def __init__(self, rows: slice, exact: Tensor) -> None:
        """exact (a, P) float64 thresholds, rising, padded with +inf."""
        self.rows, self.exact = rows, exact
        self.counts = torch.zeros(exact.shape, dtype=torch.int32, device=exact.device)
        self._adding = threading.Lock()

    def add(self, found: Tensor) -> None:
        with self._adding:
            self.counts += found


class Tiles:
    """The tiles of one search, to be counted inside `precision.full_float32`."""

    def __init__(self, search: Search, shapes: Collection[Shape]) -> None:
        """shapes: of every tile to come."""
        self.search = search
        worth = search.query.device.type == "cpu" and len(shapes) >= FEW_TILES
        self.compiled = worth and kernel_there()
        # torch's own passes over a bfloat16 tile cost what its product saves
        coarse = self.compiled and bfloat16_serves(shapes)
        self.coarse = Coarse(search.query, search.gallery) if coarse else None
        self.fixed = Fixed(search.query, search.gallery) if coarse else None
        self._tried = self._left_open = 0

    def count(self, mine: Tally, columns: slice, theirs: Tally | None = None) -> None:
        """One tile: into `mine` against its columns, and, turned, into the tally of these, if any."""
        turned = mine.exact.new_empty((length(columns), 0)) if theirs is None else theirs.exact
        if not mine.exact.shape[1] + turned.shape[1]:
            return
        found = self._coarsely(mine.rows, columns, mine.exact, turned)
        if found is None:
            found = self._in_float32(mine.rows, columns, mine.exact, turned)
        mine.add(found[0])
        if theirs is not None:
            theirs.add(found[1])

    def _coarsely(self, rows: slice, columns: slice, exact: Tensor, turned: Tensor) -> Counts | None:
        """None where bfloat16 leaves too much open."""
        if self.coarse is None or self.fixed is None or max(exact.shape[1], turned.shape[1]) > WIDEST:
            return None
        if self._left_open >= max(_LEFT_OPEN, _SHARE * self._tried):
            return None
        scores = self.search.without_positives(self.coarse.scores(rows, columns), rows, columns)
        margins = self.coarse.margins(rows, columns)
        tile = scores, self.search.query[rows], self.search.gallery[columns], exact, turned, *margins, NEAR
        found = count_compiled(*tile, self.fixed.part(rows, columns))
        # Threads may lose a step of these numbers, which decide about speed alone.
        self._tried += 1
        self._left_open += found is None
        return found

    def _in_float32(self, rows: slice, columns: slice, exact: Tensor, turned: Tensor) -> Counts:
        scores = self.search.scores(rows, columns)
        mine, theirs = self.search.query[rows], self.search.gallery[columns]
        if self.compiled and max(exact.shape[1], turned.shape[1]) <= WIDEST:
            margin = rounding_bound(mine.shape[1])
            margins = exact.new_full((len(mine),), margin), exact.new_full((len(theirs),), margin)
            found = count_compiled(scores, mine, theirs, exact, turned, *margins, NEAR)
            if found is not None:
                return found
            scores = self.search.scores(rows, columns)  # the kernel overwrote them
        return counts_against(scores, exact, mine, theirs), counts_against(scores.T, turned, theirs, mine)


def count_compiled(
    scores: Tensor,
    rows: Tensor,
    columns: Tensor,
    exact: Tensor,
    turned: Tensor,
    margins: Tensor,
    turned_margins: Tensor,
    near: float,
    fixed: tuple[Tensor, Tensor, float] | None = None,
) -> Counts | None:
    """(a, P), (c, Q) int32: for each threshold of the rows and of the columns, how many exact scores reach it.

    scores (a, c) = rows (a, D) @ columns (c, D).T in bfloat16 or float32, -inf in what does not count; overwritten.
    exact (a, P) and turned (c, Q) float64 thresholds, rising, padded with +inf. A score, before its rounding to
    bfloat16, is off by at most the margin (a,) of its row and (c,) of its column. fixed: from `Fixed.part`. None where
    more than the share `near` is too near to call.
    """
    from . import kernel, lanes

    first, second, error = fixed or (rows[:, :0].to(torch.int16), columns[:, :0].to(torch.int16), torch.inf)
    missing = -scores.shape[1] % lanes.LANES
    if missing:
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
    keys = scores.view(torch.int16 if scores.dtype == torch.bfloat16 else torch.int32)
    done, counts, turned_counts = kernel.count_tile(
        *(part.numpy() for part in (keys, rows, columns, first, second, exact, turned, margins, turned_margins)),
        (error, rounding_bound(rows.shape[1])),
        int(near * scores.numel()),
    )
    if not done:
        return None
    return torch.from_numpy(counts), torch.from_numpy(turned_counts[:, : len(columns)]).T


@cache
def kernel_there() -> bool:
    """Whether numba can be imported, and has a folder for what it compiles; else torch and numpy count, slower."""
    try:
        from . import kernel  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def bfloat16_serves(shapes: Collection[Shape]) -> bool:
    """Whether bfloat16 is fast in the largest of these products, and rounds in all as it has to."""
    return coarse_pays(max(shapes)) and all(coarse_is_faithful(shape) for shape in set(shapes))
