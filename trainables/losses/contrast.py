"""Losses of single pairs: the calibration loss (arXiv 2110.01445, eq. 9) and the pair loss."""

from torch import Tensor

from trainables.losses.scores import Pairs, Slope, tangential

IDENTICAL = 1e-5
"""A positive at least this near to 1 is the same image: the pair loss leaves it out."""


def _relevance(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """(positive (Q, M), negative (Q, M)) bool; the query itself is neither."""
    same = pairs.same()
    negative = ~same
    return (same.fill_diagonal_(False) if pairs.within_batch else same), negative


def calibration(
    scores: Tensor, pairs: Pairs, wanted: bool, *, pos_margin: float, neg_margin: float
) -> tuple[Tensor, Slope | None]:
    """mean of pos_margin - s over the positive pairs below it + mean of s - neg_margin over the negatives above it.

    A mean over no pair is 0. A Formula; its gradient is the one through a normalisation, as in
    pytorch-metric-learning.
    """
    positive, negative = _relevance(pairs)
    positive.logical_and_(scores < pos_margin)
    negative.logical_and_(scores > neg_margin)
    near = positive.sum().clamp_(min=1).to(scores.dtype)
    far = negative.sum().clamp_(min=1).to(scores.dtype)
    missing = (pos_margin - scores).mul_(positive).sum() / near
    excess = (scores - neg_margin).mul_(negative).sum() / far
    if not wanted:
        return missing + excess, None
    return missing + excess, tangential(scores, negative / far - positive / near)


def pair_loss(scores: Tensor, pairs: Pairs, wanted: bool, *, margin: float) -> tuple[Tensor, Slope | None]:
    """(sum of 1 - s over the positives below 1 - 1e-5 + sum of s over the negatives above the margin) / Q."""
    positive, negative = _relevance(pairs)
    positive.logical_and_(scores < 1 - IDENTICAL)
    negative.logical_and_(scores > margin)
    queries = max(1, scores.shape[0])
    value = ((1 - scores).mul_(positive).sum() + (scores * negative).sum()) / queries
    if not wanted:
        return value, None
    return value, Slope((negative.to(scores.dtype) - positive.to(scores.dtype)).div_(queries))
