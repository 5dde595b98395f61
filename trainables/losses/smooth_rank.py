"""Average precision with a smooth rank: its value and its gradient in one pass over the scores.

Only the positives of a query need a rank, so the work is (query, its positives, all references) and not all pairs of
references; it goes through blocks that stay in the cache, and what is kept for the backward pass is the gradient
with respect to the scores, nothing else.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainables.losses.relevance import padded_positives

CLAMP = 50.0  # of the sigmoid's argument
BLOCK = {"cpu": 1 << 17, "cuda": 1 << 25}  # elements of one block: a core's cache; enough to fill a GPU


@dataclass(frozen=True)
class SmoothStep:
    """H_s of the paper (arXiv 2110.01445, eq. 4): how much a reference above a positive counts to its rank.

    sigmoid(t / tau) for t <= 0; start + sigmoid(t / tau) up to delta; rho * (t - delta) + offset beyond.
    delta None: rho * t + offset for every t > 0; rho None: the plain sigmoid everywhere (SmoothAP).
    """

    tau: float
    rho: float | None = None
    delta: float | None = None
    offset: float = 0.0
    start: float = 0.0

    def value_and_slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """H_s(t) and its derivative, elementwise."""
        argument = t / self.tau
        inside = argument.abs() <= CLAMP
        sigma = torch.sigmoid(argument.clamp_(-CLAMP, CLAMP))
        slope = sigma * (1 - sigma) * inside / self.tau
        if self.rho is None:
            return sigma, slope
        edge = 0.0 if self.delta is None else self.delta
        beyond = t > edge
        value = torch.where(beyond, self.rho * (t - edge) + self.offset, sigma + self.start * (t > 0))
        return value, slope.masked_fill_(beyond, self.rho)


def average_precision(scores: Tensor, positive: Tensor, step: SmoothStep, *, smooth_positives: bool = False) -> Tensor:
    """Mean over the queries of the smooth AP; scores (Q, M), positive (Q, M) bool. Differentiable once in the scores.

    rank+ counts the positives at or above by a hard step without gradient, or by `step` itself where
    `smooth_positives`; rank- counts the negatives by `step`. Queries without a positive are left out of the mean;
    without any query left the result is 0.
    """
    result: Tensor = _SmoothAveragePrecision.apply(scores, positive, step, smooth_positives)
    return result


class _SmoothAveragePrecision(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, scores: Tensor, positive: Tensor, step: SmoothStep, smooth_positives: bool) -> Tensor:
        value, gradient = _value_and_gradient(scores, positive, step, smooth_positives, context.needs_input_grad[0])
        if gradient is not None:
            context.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(context: Any, upstream: Tensor) -> tuple[Tensor | None, None, None, None]:
        (gradient,) = context.saved_tensors
        return gradient * upstream, None, None, None


@torch.no_grad()
def _value_and_gradient(
    scores: Tensor, positive: Tensor, step: SmoothStep, smooth_positives: bool, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    indices, valid = padded_positives(positive)  # (Q, P)
    counted = int(valid.any(1).sum())
    gradient = torch.zeros_like(scores) if with_gradient else None
    total = scores.new_zeros(())
    if counted == 0:
        return total, gradient
    rows = max(1, BLOCK.get(scores.device.type, BLOCK["cuda"]) // max(1, indices.shape[1] * scores.shape[1]))
    for first in range(0, len(scores), rows):
        block = slice(first, first + rows)
        part = None if gradient is None else gradient[block]
        total += _block(scores[block], positive[block], indices[block], valid[block], step, smooth_positives, part)
    if gradient is not None:
        gradient /= counted
    return total / counted, gradient


def _block(
    scores: Tensor,
    positive: Tensor,
    indices: Tensor,
    valid: Tensor,
    step: SmoothStep,
    smooth_positives: bool,
    gradient: Tensor | None,
) -> Tensor:
    """Sum of the AP of these queries; d(sum of AP) / d(scores) is added to `gradient`."""
    own = scores.gather(1, indices)  # (q, P): the scores of the positives
    difference = scores[:, None, :] - own[:, :, None]  # (q, P, M)
    value, slope = step.value_and_slope(difference)
    negative = ~positive[:, None, :]
    above = (value * negative).sum(-1)  # (q, P): rank-
    if smooth_positives:
        others = positive[:, None, :].expand_as(value).clone()
        others.scatter_(2, indices[:, :, None], False)  # j != k
        rank_positive = 1.0 + (value * others).sum(-1)
    else:
        # ties count; the positive itself is the 1 of rank+
        rank_positive = ((own[:, None, :] >= own[:, :, None]) & valid[:, None, :]).sum(-1).to(scores.dtype)
        rank_positive.clamp_(min=1.0)
    rank = rank_positive + above
    weight = valid / valid.sum(1, keepdim=True).clamp(min=1)  # 1 / |P_i|, 0 for padding
    if gradient is not None:
        # d(rank+ / rank) = (rank- d rank+  -  rank+ d rank-) / rank^2
        per_negative = -weight * rank_positive / rank.square()
        push = slope * negative * per_negative[:, :, None]
        if smooth_positives:
            push += slope * others * (weight * above / rank.square())[:, :, None]
        gradient += push.sum(1)
        gradient.scatter_add_(1, indices, -push.sum(-1))
    return (weight * rank_positive / rank).sum()
