"""Losses of single pairs: the calibration loss (arXiv 2110.01445, eq. 9) and the pair loss."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.losses import compiled
from trainables.losses.pairs import Pairs, Slope, tangential

IDENTICAL = 1e-5
"""A positive at least this near to 1 is the same image: the pair loss leaves it out."""


def _violations(scores: Tensor, pairs: Pairs, pos_bound: float, neg_bound: float) -> tuple[Tensor, Tensor]:
    """(Q, M) twice, 1 or 0: positives below their bound, negatives above theirs; the query itself is neither.

    Floats, because a pass over booleans costs a CPU ten times as much.
    """
    same = pairs.same().to(scores.dtype)
    far = torch.gt(scores, neg_bound, out=torch.empty_like(scores))
    far.addcmul_(far, same, value=-1)
    near = torch.lt(scores, pos_bound, out=torch.empty_like(scores)).mul_(same)
    return (near.fill_diagonal_(0) if pairs.within_batch else near), far


def _compiled_calibration(
    kernels: Any, scores: Tensor, pairs: Pairs, wanted: bool, margins: tuple[float, float]
) -> tuple[Tensor, Slope | None]:
    """`calibration` where kernels serve."""
    listed = compiled.Listed.of(pairs.labels, pairs.ref_labels)
    given, found = (scores.numpy(), *listed, pairs.within_batch, margins), np.zeros((len(scores), 4))
    compiled.share(lambda rows: kernels.violations(*given, rows, found), scores.numel())
    near, missing, far, excess = found.sum(0).tolist()
    weights = 1 / max(1, near), 1 / max(1, far)
    value = scores.new_tensor(missing * weights[0] + excess * weights[1])
    if not wanted:
        return value, None
    gradient, along = torch.empty_like(scores), scores.new_zeros(scores.shape[1])
    lengths = scores.new_zeros(kernels.strips(scores.shape[1]), len(scores))
    written = gradient.numpy(), lengths.numpy(), along.numpy()
    compiled.share(lambda strips: kernels.calibration_gradient(*given, weights, strips, *written), scores.numel())
    return value, Slope(gradient, lengths.sum(0), along)


def calibration(
    scores: Tensor, pairs: Pairs, wanted: bool, *, pos_margin: float, neg_margin: float
) -> tuple[Tensor, Slope | None]:
    """mean of pos_margin - s over the positive pairs below it + mean of s - neg_margin over the negatives above it.

    A mean over no pair is 0. A Formula; its gradient is the one through a normalisation, as in
    pytorch-metric-learning.
    """
    if kernels := compiled.kernels(scores):
        return _compiled_calibration(kernels, scores.contiguous(), pairs, wanted, (pos_margin, neg_margin))
    if gpu := compiled.fused(scores, pairs.labels):
        return gpu.calibration(scores.contiguous(), pairs, wanted, pos_margin, neg_margin)
    near, far = _violations(scores, pairs, pos_margin, neg_margin)
    near_count, far_count = near.sum().clamp_(min=1), far.sum().clamp_(min=1)
    missing = torch.sub(pos_margin, scores).mul_(near).sum() / near_count
    excess = torch.sub(scores, neg_margin).mul_(far).sum() / far_count
    if not wanted:
        return missing + excess, None
    return missing + excess, tangential(scores, far.div_(far_count).sub_(near.div_(near_count)))


def pair_loss(scores: Tensor, pairs: Pairs, wanted: bool, *, margin: float) -> tuple[Tensor, Slope | None]:
    """(sum of 1 - s over the positives below 1 - 1e-5 + sum of s over the negatives above the margin) / Q."""
    near, far = _violations(scores, pairs, 1 - IDENTICAL, margin)
    queries = max(1, scores.shape[0])
    value = (torch.sub(1, scores).mul_(near).sum() + (scores * far).sum()) / queries
    return value, Slope(far.sub_(near).div_(queries)) if wanted else None
