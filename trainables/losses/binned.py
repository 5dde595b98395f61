"""Average precision from a soft histogram of the similarities: FastAP and SoftBinAP.

Bin centres lie evenly from `high` down to `low`; a score between two centres counts to both, linearly. With h_b the
positives of bin b, H_b its cumulated sum and T_b that of all references: AP = 1/n sum_b h_b H_b / T_b.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from trainables.losses.pairs import Pairs, Slope, tangential
from trainables.losses.positives import Block, Positives


class Bins(NamedTuple):
    """centres from high down to low, one spacing apart; beyond them the end bins are flat."""

    centres: int
    low: float
    high: float

    def place(self, scores: Tensor) -> Tensor:
        """Scores -> place among the centres: 0 at high, centres - 1 at low, within these also for scores beyond."""
        scale = (self.centres - 1) / (self.high - self.low)
        return scores.sub(self.high).mul_(-scale).clamp_(0, self.centres - 1)

    def inside(self, scores: Tensor) -> Tensor:
        """Where a score's place moves with it."""
        return (scores > self.low) & (scores < self.high)


def _cumulated(place: Tensor, bins: Bins) -> Tensor:
    """(q, M) places -> (q, centres): the sum over the references of the bins up to b, clamp(b + 1 - place, 0, 1)."""
    scratch = torch.empty_like(place)
    sums = [torch.sub(b + 1, place, out=scratch).clamp_(0, 1).sum(1) for b in range(bins.centres)]
    return torch.stack(sums, 1)


class _Histogram(NamedTuple):
    hits: Tensor  # (q, bins) h
    found: Tensor  # (q, bins) H
    seen: Tensor  # (q, bins) T, 1 where it is 0
    positives: Tensor  # (q, 1) n

    @property
    def precision(self) -> Tensor:
        """(q,) the binned AP."""
        return (self.hits * self.found / self.seen / self.positives).sum(1)

    def slopes(self) -> tuple[Tensor, Tensor]:
        """(q, bins) twice: d AP / d h with its part in H, d AP / d T."""
        through_found = (self.hits / self.seen).flip(1).cumsum(1).flip(1)
        on_hits = (self.found / self.seen + through_found) / self.positives
        return on_hits, -self.hits * self.found / self.seen.square() / self.positives


def _block_histogram(block: Block, negatives: Tensor, kept: Tensor, bins: Bins) -> _Histogram:
    """negatives (q, M) places, beyond the last bin for positives; kept (q, P) the positives that count."""
    place = bins.place(block.similarity)
    at = torch.arange(bins.centres, device=place.device, dtype=place.dtype)
    pulse = (1 - (place[:, :, None] - at).abs()).clamp_(min=0) * kept[:, :, None]
    hits = pulse.sum(1)
    found = hits.cumsum(1)
    seen = found + _cumulated(negatives, bins)
    return _Histogram(hits, found, seen.masked_fill(seen == 0, 1), kept.sum(1, keepdim=True).to(place.dtype))


def _block_slope(histogram: _Histogram, block: Block, negatives: Tensor, kept: Tensor, bins: Bins) -> Tensor:
    """d(sum of AP) / d(scores) (q, M) of a block."""
    scale = (bins.centres - 1) / (bins.high - bins.low)
    on_hits, on_seen = histogram.slopes()
    last = bins.centres - 2
    # T_b moves by clamp(b + 1 - place, 0, 1): only in the bin that holds the score
    lower = negatives.floor().clamp_(max=bins.centres - 1).long()
    gradient = on_seen.gather(1, lower).mul_(scale).mul_(bins.inside(block.scores))
    lower = bins.place(block.similarity).floor_().clamp_(max=last).long()
    moved = on_hits.gather(1, lower) - on_hits.gather(1, lower + 1) + on_seen.gather(1, lower)
    moved = (moved * scale).mul_(kept & bins.inside(block.similarity))
    return gradient.scatter_add_(1, block.columns, moved)


def binned_ap_loss(
    scores: Tensor, pairs: Pairs, wanted: bool, *, bins: Bins, count_self: bool, normalise: bool
) -> tuple[Tensor, Slope | None]:
    """1 - mean binned AP over the queries with a positive, 0 if there are none: a Formula.

    count_self: within a batch the query is its own positive; else it is no reference of its own. normalise: the
    gradient is the one through a normalisation of the embeddings.
    """
    alone = pairs.within_batch and not count_self
    positives = Positives.of(pairs)
    gradient = torch.zeros_like(scores) if wanted else None
    total = scores.new_zeros(())
    queries = sum(size > alone for size in positives.sizes)
    for block in positives.blocks(scores):
        width = torch.arange(block.columns.shape[1], device=scores.device)
        kept = width < block.counts[:, None]
        if alone:
            kept &= block.columns != block.rows[:, None]
        negatives = bins.place(block.scores)
        negatives.masked_fill_(block.scores == -torch.inf, bins.centres)
        histogram = _block_histogram(block, negatives, kept, bins)
        valid = histogram.positives > 0
        histogram = histogram._replace(positives=histogram.positives.clamp(min=1))
        total += (histogram.precision[:, None] * valid).sum()
        if gradient is not None:
            slope = _block_slope(histogram, block, negatives, kept, bins)
            gradient.index_copy_(0, block.rows, slope.div_(-max(1, queries)))
    value = 1 - total / queries if queries else total
    if gradient is None:
        return value, None
    return value, tangential(scores, gradient) if normalise else Slope(gradient)
