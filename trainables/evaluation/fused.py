"""Tiles counted on a GPU: one launch a tile, no wait, and what float32 cannot decide collected for the end."""

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from . import gpu_kernels
from .counting import rounding_bound
from .search import Search
from .tally import Tally

BLOCK, WARPS = 32, 2
"""Rows and columns of a tile that one program counts, and by how many warps: the fastest of those tried on an H100."""
WIDEST = 32
"""Thresholds a row. A program tries one after the other: with a hundred it is no faster than `counting`."""
MOST_NOTED = 2**21
"""Pairs that are too near to call; where there are more, whoever asked counts in another way."""
_GATHERED = 2**23
"""Float64 elements of them compared at once."""


class Counter:
    """Counts the tiles of one search, all on its device, of up to `widest` thresholds a row."""

    widest = WIDEST

    def __init__(self, search: Search) -> None:
        self._search, device = search, search.query.device
        self._margin = rounding_bound(search.query.shape[1])
        self._codes = torch.from_numpy(search.query_codes).to(device, torch.int32)
        self._gallery_codes = torch.from_numpy(search.gallery_codes).to(device, torch.int32)
        pairs = len(search.query) * len(search.gallery)
        self._capacity = min(MOST_NOTED, max(2**12, pairs))
        self._noted = torch.zeros(3 * self._capacity + 1, dtype=torch.int32, device=device)

    def count(self, scores: Tensor, mine: Tally, columns: slice, theirs: Tally | None) -> None:
        """Tile scores (a, c) float32, positives among them: into `mine`, and, turned, into `theirs`."""
        rows = mine.rows
        turned = mine if theirs is None else theirs  # of no use then, its width is 0
        blocks = triton.cdiv(len(scores), BLOCK) * triton.cdiv(scores.shape[1], BLOCK)
        with torch.cuda.device_of(scores):
            gpu_kernels.count_tile[(blocks,)](
                scores.contiguous(),
                *scores.shape,
                self._codes[rows],
                self._gallery_codes[columns],
                *mine.bounds(self._margin),
                mine.counts,
                mine.counts.shape[1],
                *turned.bounds(self._margin),
                turned.counts,
                0 if theirs is None else theirs.counts.shape[1],
                rows.start,
                columns.start,
                self._noted,
                self._capacity,
                BLOCK,
                BLOCK,
                num_warps=WARPS,
            )

    def settle(self, tallies: Sequence[Tally]) -> bool:
        """Compares what was noted for these in float64; False, with nothing done, where there was too much of it."""
        number = int(self._noted[-1])
        self._noted[-1] = 0
        if number > self._capacity:
            return False
        first, second, place = self._noted[:-1].view(3, -1)[:, :number].long()
        order = first.argsort()
        edges = torch.tensor([edge for tally in tallies for edge in (tally.rows.start, tally.rows.stop)])
        bounds = torch.searchsorted(first[order], edges.to(first.device)).view(-1, 2).tolist()
        for tally, (begin, end) in zip(tallies, bounds, strict=True):
            for some in order[begin:end].split(max(1, _GATHERED // self._search.query.shape[1])):
                i, p = first[some] - tally.rows.start, place[some]
                product = self._search.query[first[some]].double() * self._search.gallery[second[some]].double()
                reached = product.sum(1) >= tally.exact[i, p]
                tally.counts.index_put_((i, p), reached.int(), accumulate=True)
        return True
