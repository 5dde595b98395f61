"""The positives of every query as a short list, and the queries in blocks that stay in the cache."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.losses.pairs import Pairs

BLOCK = {"cpu": 2**17, "cuda": 2**25}
"""Elements of a block: on a CPU what the second-level cache holds, on a GPU what keeps it busy."""


def by_class(labels: Tensor, ref_labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The references (M,) class by class, and of every query where its class begins there (Q,) and its size (Q,)."""
    classes, listed = ref_labels.sort(stable=True)
    first = torch.searchsorted(classes, labels)
    return listed, first, torch.searchsorted(classes, labels, right=True) - first


class Block(NamedTuple):
    """q queries, those with the most positives first, and up to P positives of each, the nearest first."""

    rows: Tensor  # (q,) their rows in the scores
    scores: Tensor  # (q, M) a copy, -inf where the reference is a positive
    columns: Tensor  # (q, P) the references that are positives; padded with a repeated one
    similarity: Tensor  # (q, P) of the positives, descending; -inf in the padding
    counts: Tensor  # (q,) number of positives, at least 1
    reach: list[int]  # (P,) how many of the queries have a p-th positive


class Positives(NamedTuple):
    """Of Q queries those n that have a positive, by the number of their positives, descending."""

    rows: Tensor  # (n,)
    columns: Tensor  # (n, P) padded with the first positive
    counts: Tensor  # (n,)
    sizes: list[int]  # counts, as Python's numbers

    @classmethod
    def of(cls, pairs: Pairs) -> "Positives":
        """One sort of the labels, no Q x M comparison."""
        listed, first, counts = by_class(pairs.labels, pairs.ref_labels)
        rows = counts.argsort(descending=True, stable=True)
        sizes = [size for size in counts[rows].tolist() if size]
        rows = rows[: len(sizes)]
        first, counts = first[rows, None], counts[rows]
        slot = torch.arange(max(sizes, default=0), device=counts.device)
        columns = listed[torch.where(slot < counts[:, None], first + slot, first)]
        return cls(rows, columns, counts, sizes)

    def blocks(self, scores: Tensor) -> Iterator[Block]:
        """The queries of scores (Q, M) that have a positive, block by block."""
        step = max(1, BLOCK.get(scores.device.type, BLOCK["cuda"]) // max(1, scores.shape[1]))
        for start in range(0, len(self.sizes), step):
            rows, counts = self.rows[start : start + step], self.counts[start : start + step]
            sizes = self.sizes[start : start + step]
            columns = self.columns[start : start + step, : sizes[0]]
            block = scores.index_select(0, rows)
            padding = torch.arange(sizes[0], device=rows.device) >= counts[:, None]
            similarity = block.gather(1, columns).masked_fill_(padding, -torch.inf)
            similarity, order = similarity.sort(dim=1, descending=True, stable=True)
            columns = columns.gather(1, order)
            block.scatter_(1, columns, -torch.inf)
            yield Block(rows, block, columns, similarity, counts, _reach(sizes))


def _reach(sizes: list[int]) -> list[int]:
    """sizes (q,) descending -> for every p < sizes[0] the number of sizes > p: _reach([3, 1]) == [2, 1, 1]."""
    reach = []
    n = len(sizes)
    for p in range(sizes[0]):
        while sizes[n - 1] <= p:
            n -= 1
        reach.append(n)
    return reach
