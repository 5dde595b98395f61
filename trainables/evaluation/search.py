"""Queries and gallery sorted by class, and the exact scores of their positives."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .precision import Shape

# Elements of a float64 operand of one class's exact product.
_OPERAND = 2**21
# Up to this share of a tile, its pairs of one class are left out one by one.
_SPARSE = 1 / 8
# Float64 elements of positives gathered at once.
_GATHERED = 2**23


@dataclass(frozen=True)
class Search:
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
    ) -> "Search":
        others = query_codes if gallery_codes is None else gallery_codes
        classes = int(max(query_codes.max(), others.max())) + 1
        sizes, asked = np.bincount(others, minlength=classes), np.bincount(query_codes, minlength=classes)
        ordered = np.lexsort((asked, sizes))
        place = np.argsort(ordered)
        order = _order(place[query_codes], query.device)
        gallery_order = order if gallery is None else _order(place[others], query.device)
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
        return sum(length(rows) * int(self.positives(rows)[-1]) for rows in slices(len(self.query), edge))

    def shape(self, rows: slice, columns: slice) -> Shape:
        return length(rows), length(columns), self.query.shape[1]

    def product(self, rows: slice, columns: slice) -> Tensor:
        """(a, c) float32 cosines. To be called inside `full_float32`."""
        return self.query[rows] @ self.gallery[columns].T

    def scores(self, rows: slice, columns: slice) -> Tensor:
        """The product, -inf where the classes are the same."""
        return self.without_positives(self.product(rows, columns), rows, columns)

    def without_positives(self, scores: Tensor, rows: slice, columns: slice) -> Tensor:
        """scores (a, c), contiguous, in place -inf where the classes are the same."""
        mine, theirs = self.query_codes[rows], self.gallery_codes[columns]
        if mine[-1] < theirs[0] or theirs[-1] < mine[0]:
            return scores
        first, last = self.skipped(rows, columns).long().T
        each = last - first
        pairs = int(each.sum())
        if scores.is_cuda or pairs > scores.numel() * _SPARSE:
            own, other = (torch.from_numpy(codes).to(scores.device) for codes in (mine, theirs))
            return scores.masked_fill_(own[:, None] == other[None, :], -torch.inf)
        # The columns of a row's class follow one another: of row i those from i * c + first on.
        begin = torch.arange(len(mine)) * scores.shape[1] + first
        places = torch.arange(pairs) + (begin - each.cumsum(0) + each).repeat_interleave(each)
        scores.view(-1).index_fill_(0, places, -torch.inf)
        return scores

    def skipped(self, rows: slice, columns: slice) -> Tensor:
        """(a, 2) int32: of each row the first of these columns that is of its class, and the first after them."""
        mine, theirs = self.query_codes[rows], self.gallery_codes[columns]
        if mine[-1] < theirs[0] or theirs[-1] < mine[0]:
            return torch.zeros((length(rows), 2), dtype=torch.int32)
        begin = self.starts[mine]
        ends = np.stack([begin, begin + self.sizes[mine]], axis=1) - columns.start
        return torch.from_numpy(ends.clip(0, length(columns)).astype(np.int32))

    def thresholds(self, rows: slice) -> Tensor:
        """(a, P) float64: the exact scores of each row's positives, rising, padded with +inf."""
        return self.thresholds_by_gathering(rows) if self.query.is_cuda else self._thresholds_by_class(rows)

    def thresholds_by_gathering(self, rows: slice) -> Tensor:
        """The same in a few large steps, as a GPU wants it: every row with its class padded to the largest."""
        device, dim = self.query.device, self.query.shape[1]
        codes = self.query_codes[rows]
        start, size = (torch.from_numpy(of[codes]).to(device)[:, None] for of in (self.starts, self.sizes))
        widest = int(self.sizes[codes[-1]])
        place = torch.arange(widest, device=device)
        number = torch.arange(rows.start, rows.stop, device=device)[:, None]
        left_out = (place >= size) | (start + place == number) if self.alone else place >= size
        columns = (start + place).clamp_(max=len(self.gallery) - 1)
        scores = self.query.new_empty(columns.shape, dtype=torch.float64)
        for part in slices(length(rows), max(1, _GATHERED // max(1, widest * dim))):
            own = self.query[rows.start + part.start : rows.start + part.stop].double()
            others = self.gallery[columns[part].flatten()].double().view(len(own), widest, dim)
            scores[part] = torch.bmm(others, own[:, :, None])[:, :, 0]
        rising = scores.masked_fill_(left_out, torch.inf).sort(dim=1).values
        return rising[:, : widest - self.alone].contiguous()

    def _thresholds_by_class(self, rows: slice) -> Tensor:
        width = int(self.positives(rows)[-1])
        out = self.query.new_full((length(rows), width), torch.inf, dtype=torch.float64)
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
        for classes in slices(len(codes), together):
            rows = slice(classes.start * share, classes.stop * share)
            mine = self.query[begin + rows.start : begin + rows.stop].double().view(-1, share, dim)
            start = int(self.starts[codes[classes.start]])
            theirs = self.gallery[start : start + length(classes) * size].view(-1, size, dim)
            for part in slices(size, max(1, _OPERAND // (length(classes) * dim))):
                product = mine @ theirs[:, part].double().transpose(1, 2)
                scores[rows, part] = product.view(-1, length(part))
        return scores


def _order(keys: NDArray[np.int64], device: torch.device) -> NDArray[np.int64]:
    """Stable; on a GPU in no time."""
    if device.type == "cpu":
        return np.argsort(keys, kind="stable")
    return torch.from_numpy(keys).to(device).argsort(stable=True).cpu().numpy()


def slices(total: int, step: int) -> Iterator[slice]:
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))


def length(part: slice) -> int:
    return int(part.stop - part.start)


def _runs(*keys: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """[first, last) of every stretch in which no key changes."""
    changed = np.any([np.diff(key) != 0 for key in keys], axis=0)
    edges = [0, *(np.flatnonzero(changed) + 1).tolist(), len(keys[0])]
    yield from itertools.pairwise(edges)
