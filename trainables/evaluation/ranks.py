"""The ranks of the positives, counted and never sorted: all that retrieval metrics need.

rank_i of a query's i-th positive = i + the number of negatives that score at least as much: a tie counts
against the query. Two products of different shapes round one and the same score to floats an ulp apart, so a
float32 count alone would decide duplicates by chance. Here the float32 product decides only where scores differ
by more than its error bound; what is nearer is compared in float64, exact on the grid of `unit_rows`.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .counting import Tally
from .precision import Shape, full_float32
from .threads import for_each

# Elements, not bytes: thresholds kept at once by the symmetric walk, and by one tile of the other.
KEPT, HELD = 2**23, 2**20
# Elements of a float64 operand of one class's exact product.
_OPERAND = 2**21


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
    search = _Search.sort(query, query_codes, gallery, gallery_codes)
    if gallery is None and search.padded_size(edge) <= KEPT:
        return _symmetric(search, edge)
    return _by_rows(search, edge)


def tile_edge(device: torch.device) -> int:
    """On a CPU a tile of scores stays near the core; a GPU wants large products."""
    return 768 if device.type == "cpu" else 4096


@dataclass(frozen=True)
class _Search:
    """Queries and gallery, both ordered by class, the classes by their size: tiles have rows of like size."""

    query: Tensor
    gallery: Tensor
    order: NDArray[np.int64]  # row of `query` -> row of the caller's
    query_codes: NDArray[np.int64]  # increasing
    gallery_codes: NDArray[np.int64]
    sizes: NDArray[np.int64]  # of each class in the gallery, increasing
    starts: NDArray[np.int64]  # where it begins there
    alone: bool  # the queries are the gallery

    @classmethod
    def sort(
        cls,
        query: Tensor,
        query_codes: NDArray[np.int64],
        gallery: Tensor | None,
        gallery_codes: NDArray[np.int64] | None,
    ) -> "_Search":
        others = query_codes if gallery_codes is None else gallery_codes
        classes = int(max(query_codes.max(), others.max())) + 1
        sizes, asked = np.bincount(others, minlength=classes), np.bincount(query_codes, minlength=classes)
        ordered = np.lexsort((asked, sizes))
        place = np.argsort(ordered)
        order = np.argsort(place[query_codes], kind="stable")
        gallery_order = np.argsort(place[others], kind="stable")
        sorted_query = query[torch.from_numpy(order).to(query.device)]
        if gallery is None:
            sorted_gallery = sorted_query
        else:
            sorted_gallery = gallery[torch.from_numpy(gallery_order).to(gallery.device)].to(query.device)
        sizes = sizes[ordered]
        codes, other_codes = place[query_codes][order], place[others][gallery_order]
        starts = np.cumsum(sizes) - sizes
        return cls(sorted_query, sorted_gallery, order, codes, other_codes, sizes, starts, gallery is None)

    def positives(self, rows: slice) -> NDArray[np.int64]:
        return self.sizes[self.query_codes[rows]] - self.alone

    def padded_size(self, edge: int) -> int:
        return sum(_length(rows) * int(self.positives(rows)[-1]) for rows in _slices(len(self.query), edge))

    def shape(self, rows: slice, columns: slice) -> Shape:
        return _length(rows), _length(columns), self.query.shape[1]

    def scores(self, rows: slice, columns: slice) -> Tensor:
        """(a, c) float32 cosines, -inf where the classes are the same. To be called inside `full_float32`."""
        scores = self.query[rows] @ self.gallery[columns].T
        mine, theirs = self.query_codes[rows], self.gallery_codes[columns]
        if mine[-1] >= theirs[0] and theirs[-1] >= mine[0]:
            same = torch.from_numpy(mine[:, None] == theirs[None, :]).to(scores.device)
            scores.masked_fill_(same, -torch.inf)
        return scores

    def thresholds(self, rows: slice) -> Tensor:
        """(a, P) float64: the exact scores of each row's positives, rising, padded with +inf."""
        width = int(self.positives(rows)[-1])
        out = self.query.new_full((_length(rows), width), torch.inf, dtype=torch.float64)
        codes, counts = np.unique(self.query_codes[rows], return_counts=True)
        done = 0
        for first, last in _runs(self.sizes[codes], counts):
            classes, asked, size = last - first, int(counts[first]), int(self.sizes[codes[first]])
            here, done = done, done + (last - first) * asked
            if size <= self.alone:
                continue
            begin, start = rows.start + here, int(self.starts[codes[first]])
            scores = self._exact(begin, classes * asked, codes[first:last], size)
            if self.alone:
                own = torch.arange(begin - start, begin - start + classes * asked, device=scores.device)
                # Whole classes in a run lie one after the other here and there; a cut class comes alone.
                scores.scatter_(1, (own % size if classes > 1 else own)[:, None], torch.inf)
            out[here:done, : size - self.alone] = scores.sort(dim=1).values[:, : size - self.alone]
        return out

    def _exact(self, begin: int, count: int, codes: NDArray[np.int64], size: int) -> Tensor:
        """(count, size) float64 scores of `count` rows with their class, equally many of each of `codes`."""
        dim, share = self.query.shape[1], count // len(codes)
        scores = self.query.new_empty((count, size), dtype=torch.float64)
        together = max(1, _OPERAND // (max(size, share) * dim))
        for classes in _slices(len(codes), together):
            rows = slice(classes.start * share, classes.stop * share)
            mine = self.query[begin + rows.start : begin + rows.stop].double().view(-1, share, dim)
            start = int(self.starts[codes[classes.start]])
            theirs = self.gallery[start : start + _length(classes) * size].view(-1, size, dim)
            for part in _slices(size, max(1, _OPERAND // (_length(classes) * dim))):
                product = mine @ theirs[:, part].double().transpose(1, 2)
                scores[rows, part] = product.view(-1, _length(part))
        return scores


def _symmetric(search: _Search, edge: int) -> Iterator[Ranks]:
    """Each tile of the product serves its rows and, turned, its columns: half the products."""
    tiles = list(_slices(len(search.query), edge))
    tallies = [Tally(search.thresholds(rows)) for rows in tiles]

    def count(pair: tuple[int, int]) -> None:
        i, j = pair
        rows, columns = search.query[tiles[i]], search.query[tiles[j]]
        scores = search.scores(tiles[i], tiles[j])
        tallies[i].add(scores, rows, columns)
        if i != j:
            tallies[j].add(scores.T, columns, rows)

    # The classes grow: where the later tile has no positive, the earlier has none.
    pairs = [(i, j) for i in range(len(tiles)) for j in range(i, len(tiles)) if tallies[j].exact.shape[1]]
    with full_float32(search.query.device, (search.shape(tiles[i], tiles[j]) for i, j in pairs)):
        for_each(count, pairs, search.query.device)
    for rows, tally in zip(tiles, tallies, strict=True):
        yield from _ranks(search, rows, tally.counts)


def _by_rows(search: _Search, edge: int) -> Iterator[Ranks]:
    """One block of queries after the other with the whole gallery: for galleries and very large classes."""
    begin = 0
    while begin < len(search.query):
        stop = min(begin + edge, len(search.query))
        while stop - begin > 1 and (stop - begin) * int(search.positives(slice(begin, stop))[-1]) > HELD:
            stop = begin + (stop - begin) // 2
        rows, begin = slice(begin, stop), stop
        exact = search.thresholds(rows)
        if exact.shape[1]:
            yield from _ranks(search, rows, _row_counts(search, rows, exact, edge))


def _row_counts(search: _Search, rows: slice, exact: Tensor, edge: int) -> Tensor:
    """(a, P) int32: how many of the gallery's other classes reach each threshold of the rows."""
    tally = Tally(exact)

    def count(columns: slice) -> None:
        tally.add(search.scores(rows, columns), search.query[rows], search.gallery[columns])

    strips = list(_slices(len(search.gallery), edge * max(1, edge // _length(rows))))
    with full_float32(search.query.device, (search.shape(rows, columns) for columns in strips)):
        for_each(count, strips, search.query.device)
    return tally.counts


def _ranks(search: _Search, rows: slice, against: Tensor) -> Iterator[Ranks]:
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


def _slices(total: int, step: int) -> Iterator[slice]:
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))


def _length(part: slice) -> int:
    return int(part.stop - part.start)


def _runs(*keys: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """[first, last) of every stretch in which no key changes."""
    changed = np.any([np.diff(key) != 0 for key in keys], axis=0)
    edges = [0, *(np.flatnonzero(changed) + 1).tolist(), len(keys[0])]
    yield from itertools.pairwise(edges)
