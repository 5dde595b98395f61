"""A tile of scores, counted in its rows and in its columns by the fastest of the ways that this machine has.

All give the same counts. The product: of rows in eight or in sixteen bits first where that is fast and the kernel
counts, float32 where that leaves too much open. The count: the compiled kernel, on a GPU Triton's, or without them
torch and numpy.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from trainables import gpu_compiler

from .counting import counts_against, rounding_bound
from .precision import Shape
from .rotated import octets
from .rounded import rounded, steps_of
from .search import Search, length
from .tally import Tally

# Fewer tiles are counted before the kernel is loaded and its product is timed.
FEW_TILES = 128
# Of a tile's pairs: more of them too near to call than this share cost more than other ways of deciding them all,
# after a product in float32 and after one that took less.
NEAR, FILTERED = 1 / 12, 1 / 4
# Thresholds a row: above, sorting the scores is cheaper than passing over them for each.
WIDEST = 256
# Tiles that a filter left open, at least and of those tried: then they are not tried any more.
_LEFT_OPEN, _SHARE = 4, 1 / 3

Counts = tuple[Tensor, Tensor]


class Tiles:
    """The tiles of one search, to be counted inside `precision.full_float32`."""

    def __init__(self, search: Search, shapes: Collection[Shape]) -> None:
        """shapes: of every tile to come."""
        self.search = search
        self.compiled, bits = ways(search.query.device, shapes)
        self.filter = FILTERS[bits](search) if bits else None
        self._tried = self._left_open = 0
        self._on_gpu: Any = None
        if triton_there(search.query.device):
            from .fused import Counter

            self._on_gpu = Counter(search)

    def settled(self, tallies: Sequence[Tally]) -> bool:
        """Whether what was counted into these is all; else they are to be cleared and counted again, another way.

        Called when all their tiles have been counted, the tallies in the order of their rows.
        """
        if self._on_gpu is None or self._on_gpu.settle(tallies):
            return True
        self._on_gpu = None
        return False

    def count(self, mine: Tally, columns: slice, theirs: Tally | None = None) -> None:
        """One tile: into `mine` against its columns, and, turned, into the tally of these, if any."""
        turned = mine.exact.new_empty((length(columns), 0)) if theirs is None else theirs.exact
        if not mine.exact.shape[1] + turned.shape[1]:
            return
        if self._on_gpu is not None and max(mine.exact.shape[1], turned.shape[1]) <= self._on_gpu.widest:
            self._on_gpu.count(self.search.product(mine.rows, columns), mine, columns, theirs)
            return
        found = self._filtered(mine.rows, columns, mine.exact, turned)
        if found is None:
            found = self._in_float32(mine.rows, columns, mine.exact, turned)
        mine.add(found[0])
        if theirs is not None:
            theirs.add(found[1])

    def _filtered(self, rows: slice, columns: slice, exact: Tensor, turned: Tensor) -> Counts | None:
        """None where the filter leaves too much open."""
        if self.filter is None or max(exact.shape[1], turned.shape[1]) > WIDEST:
            return None
        if self._left_open >= max(_LEFT_OPEN, _SHARE * self._tried):
            return None
        found = self.filter.count(rows, columns, exact, turned)
        # Threads may lose a step of these numbers, which decide about speed alone.
        self._tried += 1
        self._left_open += found is None
        return found

    def _in_float32(self, rows: slice, columns: slice, exact: Tensor, turned: Tensor) -> Counts:
        scores = self.search.scores(rows, columns)
        mine, theirs = self.search.query[rows], self.search.gallery[columns]
        if self.compiled and max(exact.shape[1], turned.shape[1]) <= WIDEST:
            found = count_compiled(scores, mine, theirs, exact, turned)
            if found is not None:
                return found
            scores = self.search.scores(rows, columns)  # the kernel overwrote them
        return counts_against(scores, exact, mine, theirs), counts_against(scores.T, turned, theirs, mine)


class Filter(Protocol):
    """Products of rows in few bits: most comparisons in much less time than float32 takes."""

    def __init__(self, search: Search) -> None: ...

    def count(self, rows: slice, columns: slice, exact: Tensor, turned: Tensor) -> Counts | None:
        """As `count_compiled`; None where too much is left open."""


class EightBits:
    """Rows in eight bits and, where that leaves a comparison open, the next eight."""

    def __init__(self, search: Search) -> None:
        self.search, self.query = search, octets(search.query)
        self.gallery = self.query if search.gallery is search.query else octets(search.gallery)

    def count(self, rows: slice, columns: slice, exact: Tensor, turned: Tensor) -> Counts | None:
        from . import kernel

        mine, theirs = self.query.part(rows), self.gallery.part(columns)
        codes = mine.codes, theirs.codes, mine.rest, theirs.rest, theirs.sums, theirs.rest_sums
        limits = mine.scale, theirs.scale, mine.margin, theirs.margin, self.search.skipped(rows, columns)
        eight = kernel.Eight(*(part.numpy() for part in (*codes, *limits)))
        pairs = self.search.query[rows], self.search.gallery[columns]
        tile = _tile(*pairs, exact, turned, float(mine.fine_margin.max() + theirs.fine_margin.max()), FILTERED)
        return _counts(kernel.count_octets(eight, tile), length(columns))


class SixteenBits:
    """Rows in sixteen bits: few pairs are nearer to a threshold than their rounding."""

    def __init__(self, search: Search) -> None:
        self.search, self.steps = search, steps_of(search)
        self.query = rounded(search.query, self.steps)
        self.gallery = self.query if search.gallery is search.query else rounded(search.gallery, self.steps)

    def count(self, rows: slice, columns: slice, exact: Tensor, turned: Tensor) -> Counts | None:
        from . import word_kernel

        mine, theirs = self.query.part(rows), self.gallery.part(columns)
        skipped = self.search.skipped(rows, columns).numpy()
        sixteen = word_kernel.Sixteen(mine.codes.numpy(), theirs.codes.numpy(), skipped, self.steps**2)
        pairs = self.search.query[rows], self.search.gallery[columns]
        tile = _tile(*pairs, exact, turned, float(mine.margin.max() + theirs.margin.max()), NEAR)
        return _counts(word_kernel.count_words(sixteen, tile), length(columns))


FILTERS: dict[int, type[Filter]] = {8: EightBits, 16: SixteenBits}


def count_compiled(
    scores: Tensor, rows: Tensor, columns: Tensor, exact: Tensor, turned: Tensor, near: float = NEAR
) -> Counts | None:
    """(a, P), (c, Q) int32: for each threshold of the rows and of the columns, how many exact scores reach it.

    scores (a, c) float32 = rows (a, D) @ columns (c, D).T, -inf in what does not count; overwritten. exact (a, P) and
    turned (c, Q) float64 thresholds, rising, padded with +inf. None where more than the share `near` of the pairs is
    too near to call.
    """
    from . import kernel

    missing = -scores.shape[1] % kernel.LANES
    if missing:
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
    tile = _tile(rows, columns, exact, turned, rounding_bound(rows.shape[1]), near)
    return _counts(kernel.count_keys(scores.view(torch.int32).numpy(), tile), len(columns))


def _tile(rows: Tensor, columns: Tensor, exact: Tensor, turned: Tensor, margin: float, near: float) -> Any:
    from .kernel import Tile

    pairs, thresholds = (rows.numpy(), columns.numpy()), (exact.numpy(), turned.numpy())
    return Tile(*pairs, *thresholds, margin, rounding_bound(rows.shape[1]), int(near * len(rows) * len(columns)))


def _counts(found: tuple[bool, Any, Any], width: int) -> Counts | None:
    done, counts, turned_counts = found
    return (torch.from_numpy(counts), torch.from_numpy(turned_counts[:, :width]).T) if done else None


def ways(device: torch.device, shapes: Collection[Shape]) -> tuple[bool, int]:
    """Whether the compiled kernel counts tiles of these products, and of how many bits it multiplies first; 0: none."""
    compiled = device.type == "cpu" and len(shapes) >= FEW_TILES and kernel_there()
    return compiled, fast_bits(max(shapes)) if compiled else 0


def fast_bits(shape: Shape) -> int:
    """In 8 or 16 bits products of rows are much faster here than in float32; 0: in neither."""
    from .octets import octets_pay
    from .words import words_pay

    return 8 if octets_pay(shape) else 16 if words_pay(shape) else 0


@cache
def kernel_there() -> bool:
    """Whether numba can be imported, and has a folder for what it compiles; else torch and numpy count, slower."""
    try:
        from . import kernel  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def triton_there(device: torch.device) -> bool:
    """Whether tiles on this device are counted by Triton."""
    return device.type == "cuda" and gpu_compiler.works()
