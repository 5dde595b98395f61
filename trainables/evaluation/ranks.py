"""The ranks of the positives, counted and never sorted: all that retrieval metrics need.

rank_i of a query's i-th positive = i + the number of negatives that score at least as much: a tie counts
against the query. Two products of different shapes round one and the same score to floats an ulp apart, so a
float32 count alone would decide duplicates by chance. Here the float32 product decides only where scores differ
by more than its error bound; what is nearer is compared in float64, exact on the grid of `unit_rows`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .precision import full_float32
from .search import Search, length, slices
from .tally import Tally
from .threads import Task, for_each
from .tiles import Tiles

# Elements, not bytes: thresholds kept at once by the symmetric walk, and by one tile of the other.
KEPT, HELD = 10 * 2**20, 2**20


class Ranks(NamedTuple):
    """Some queries' ranks. Every query that has a positive comes in exactly one block."""

    queries: NDArray[np.int64]  # (B,) row numbers in `query`
    positives: Tensor  # (B,) how many positives each has
    ranks: Tensor  # (B, P) int64, increasing, from 1, padded with 0


def positive_ranks(
    query: Tensor,
    query_codes: NDArray[np.int64],
    gallery: Tensor | None = None,
    gallery_codes: NDArray[np.int64] | None = None,
    tile: int | None = None,
) -> Iterator[Ranks]:
    """Ranks of each query's positives in the gallery, or, if None, in the other queries (left out by index).

    query (N, D), gallery (M, D): from `unit_rows`; the codes (N,), (M,): from `class_codes`. Memory beyond
    these: a sorted copy of them and at most about 200 MiB on the CPU. The result does not depend on `tile`,
    the edge of a tile of scores, nor on threads or device.
    """
    assert (gallery is None) == (gallery_codes is None)
    edge = tile or tile_edge(query.device)
    search = Search.sort(query, query_codes, gallery, gallery_codes)
    if gallery is None and search.padded_size(edge) <= KEPT:
        return _symmetric(search, edge)
    return _by_rows(search, edge)


def tile_edge(device: torch.device) -> int:
    """On a CPU a tile of scores stays near the core; a GPU wants large products."""
    return 768 if device.type == "cpu" else 4096


def _symmetric(search: Search, edge: int) -> Iterator[Ranks]:
    """Each tile of the product serves its rows and, turned, its columns: half the products."""
    tallies = [Tally(rows, search.thresholds(rows)) for rows in slices(len(search.query), edge)]
    # The classes grow: where the later tile has no positive, the earlier has none.
    pairs = [(a, b) for i, a in enumerate(tallies) for b in tallies[i:] if b.exact.shape[1]]
    shapes = [search.shape(a.rows, b.rows) for a, b in pairs]
    tiles = Tiles(search, shapes)

    def count(pair: tuple[Tally, Tally]) -> None:
        mine, theirs = pair
        tiles.count(mine, theirs.rows, None if mine is theirs else theirs)

    with full_float32(search.query.device, shapes):
        _count_all(tiles, tallies, count, pairs)
    for tally in tallies:
        yield from _ranks(search, tally.rows, tally.counts)


def _by_rows(search: Search, edge: int) -> Iterator[Ranks]:
    """One block of queries after the other with the whole gallery: for galleries and very large classes."""
    blocks = []
    begin = 0
    while begin < len(search.query):
        stop = min(begin + edge, len(search.query))
        while stop - begin > 1 and (stop - begin) * int(search.positives(slice(begin, stop))[-1]) > HELD:
            stop = begin + (stop - begin) // 2
        rows, begin = slice(begin, stop), stop
        if search.positives(rows)[-1]:
            blocks.append((rows, list(slices(len(search.gallery), edge * max(1, edge // length(rows))))))
    tiles = Tiles(search, [search.shape(rows, columns) for rows, strips in blocks for columns in strips])
    for rows, strips in blocks:
        tally = Tally(rows, search.thresholds(rows))
        with full_float32(search.query.device, (search.shape(rows, columns) for columns in strips)):
            _count_all(tiles, [tally], partial(tiles.count, tally), strips)
        yield from _ranks(search, rows, tally.counts)


def _count_all(tiles: Tiles, tallies: Sequence[Tally], count: Callable[[Task], None], tasks: Sequence[Task]) -> None:
    """count(task) of all, into these."""
    device = tiles.search.query.device
    for_each(count, tasks, device)
    if not tiles.settled(tallies):
        for tally in tallies:
            tally.clear()
        for_each(count, tasks, device)


def _ranks(search: Search, rows: slice, against: Tensor) -> Iterator[Ranks]:
    """counts (a, P), at rising thresholds -> rank_i = i + the count at the i-th highest, of rows with a positive."""
    positives = search.positives(rows)
    some = positives > 0
    if not some.any():
        return
    number = torch.from_numpy(positives[some]).to(against.device)
    place = torch.arange(1, against.shape[1] + 1, device=against.device)
    highest_first = (number[:, None] - place).clamp_(min=0)
    ranks = against[torch.from_numpy(some).to(against.device)].gather(1, highest_first) + place
    yield Ranks(search.order[rows][some], number, ranks.masked_fill_(place > number[:, None], 0))
