"""Average precision and calibration of float32 scores on a GPU: two launches each, of size Q x M only the gradient."""

import math
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor

from trainables.losses import gpu_kernels
from trainables.losses.pairs import Pairs, Slope, tangential
from trainables.losses.positives import by_class

BLOCK, SMALL_BLOCK = 1024, 128
"""References at a time, and for batches that are not larger."""
_KEPT = 5
"""Numbers kept of a query's positive: its score, its part of the AP, and three weights of the gradient."""


def _block(references: int) -> int:
    return BLOCK if references > SMALL_BLOCK else SMALL_BLOCK


def _on(scores: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    return torch.cuda.device_of(scores)


def average_precision(
    scores: Tensor, pairs: Pairs, wanted: bool, step: tuple[float, ...], clamp: float, smooth_positives: bool
) -> tuple[Tensor, Slope | None]:
    """`average_precision.average_precision_loss` of contiguous scores (Q, M), Q and M at least 1, integer labels."""
    labels, ref_labels = pairs.labels.long(), pairs.ref_labels.long()
    listed, first, counts = by_class(labels, ref_labels)
    sizes = counts.cpu().numpy()  # the one wait
    most, queries = int(sizes.max()), int(np.count_nonzero(sizes))
    if not queries:
        return scores.new_zeros(()), Slope(torch.zeros_like(scores)) if wanted else None
    (count, width), block = scores.shape, _block(scores.shape[1])
    columns, found = counts.new_empty(count, most), scores.new_zeros(count, most, _KEPT)
    settings = (width, most, *map(float, step), clamp)  # whole numbers would be of another type to Triton
    kinds = {"is_sigmoid": math.isinf(step[2]), "smooth": smooth_positives, "block": block}
    whose = scores, labels, ref_labels
    gradient = torch.empty_like(scores) if wanted else None
    with _on(scores):
        gpu_kernels.rank[(count * most,)](*whose, listed, first, counts, columns, found, *settings, **kinds)
        if gradient is not None:
            grid = count, triton.cdiv(width, block)
            gpu_kernels.rank_gradient[grid](*whose, counts, columns, found, gradient, -1 / queries, *settings, **kinds)
    value = 1 - found[..., 1].sum(dtype=torch.float64) / queries
    return value.to(scores.dtype), None if gradient is None else Slope(gradient)


def calibration(
    scores: Tensor, pairs: Pairs, wanted: bool, pos_margin: float, neg_margin: float
) -> tuple[Tensor, Slope | None]:
    """`contrast.calibration` of contiguous scores (Q, M), Q and M at least 1, integer labels."""
    (count, width), block = scores.shape, _block(scores.shape[1])
    whose = scores, pairs.labels.long(), pairs.ref_labels.long()
    settings = width, float(pos_margin), float(neg_margin)
    kinds = {"within_batch": pairs.within_batch, "block": block}
    found = scores.new_empty(count, 4)
    with _on(scores):
        gpu_kernels.violations[(count,)](*whose, found, *settings, **kinds)
        counts, sums = found.sum(0, dtype=torch.float64).view(2, 2).unbind(1)
        weights = counts.clamp(min=1).reciprocal_()
        value = (sums @ weights).to(scores.dtype)
        if not wanted:
            return value, None
        gradient = torch.empty_like(scores)
        gpu_kernels.violation_gradient[count, triton.cdiv(width, block)](
            *whose, weights.float(), gradient, *settings, **kinds
        )
    return value, tangential(scores, gradient)
