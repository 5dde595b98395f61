"""Average precision with a smooth rank: SupAP (arXiv 2110.01445, eq. 3 to 7) and SmoothAP (arXiv 2007.12163).

AP_i = 1/|P_i| sum over k in P_i of rank+_ik / (rank+_ik + rank-_ik). Only the positives' ranks count, so the work is
(query, its positives, all references), positive by positive, in blocks that stay in the cache.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses import compiled
from trainables.losses.pairs import Pairs, Slope
from trainables.losses.positives import Block, Positives

CLAMP = 50.0
"""The bound on sigma's argument; beyond it sigma has no gradient."""


class Step(NamedTuple):
    """The smooth step Hs(t) by which a negative t nearer than a positive counts in its rank (eq. 5).

    sigma(t / tau) for t <= 0; start + sigma(t / tau) up to delta; rho * (t - delta) + offset above.
    """

    tau: float
    rho: float = 0.0
    delta: float = math.inf
    offset: float = 0.0
    start: float = 0.0

    @property
    def is_sigmoid(self) -> bool:
        """Whether sigma serves for every t."""
        return math.isinf(self.delta)


def sigma(argument: Tensor) -> Tensor:
    """In place; exactly 0 below the clamp, where sigma is 2e-22, so that there is no gradient either."""
    return functional.threshold(argument, -CLAMP, -torch.inf, inplace=True).sigmoid_()


class _Above(NamedTuple):
    """How the negatives rank against one positive of each of q queries."""

    rank: Tensor  # (q,) rank-
    soft: Tensor  # (q, M) tau times the slope of its sigmoid part
    linear: Tensor | None  # (q, M) 1 where the slope is rho instead, 0 elsewhere; None: nowhere
    slope: Tensor  # (q,) the sum of the slope over the references


def _negatives_above(scores: Tensor, positive: Tensor, step: Step, beyond: bool, scratch: Tensor) -> _Above:
    """scores (q, M) with -inf at the positives, positive (q, 1); beyond: some score lies above its positive.

    Conditions are floats, 0 or 1: a pass over booleans costs a CPU ten times as much.
    """
    difference, soft, linear = scratch
    if not beyond or step.is_sigmoid:
        sigma(torch.sub(scores, positive, out=soft).div_(step.tau))
        rank = soft.sum(1)
        soft.addcmul_(soft, soft, value=-1)
        return _Above(rank, soft, None, soft.sum(1) / step.tau)
    torch.sub(scores, positive, out=difference)
    sigma(torch.div(difference, step.tau, out=soft))
    # what is above its positive at all gets the jump; the linear piece gives it back
    jump = step.start * torch.gt(difference, 0, out=linear).sum(1) if step.start else 0.0
    torch.gt(difference, step.delta, out=linear)
    count = linear.sum(1)
    soft.addcmul_(soft, linear, value=-1)
    rank = soft.sum(1) + jump + (step.offset - step.rho * step.delta - step.start) * count
    rank += step.rho * functional.threshold(difference, step.delta, 0.0, inplace=True).sum(1)
    soft.addcmul_(soft, soft, value=-1)
    return _Above(rank, soft, linear, soft.sum(1) / step.tau + step.rho * count)


def _precision(block: Block, step: Step, smooth_positives: bool, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """A block's AP (q,), and the gradient of its sum of AP on the block's scores (q, M)."""
    similarity = block.similarity
    precision = torch.zeros_like(similarity[:, 0])
    gradient = torch.zeros_like(block.scores) if wanted else None
    pull = torch.zeros_like(similarity)  # (q, P) the gradient on the positives' scores
    lead = block.scores.amax(1, keepdim=True) - similarity  # (q, P) of the nearest negative, before each positive
    beyond, clear = (lead > 0).any(0).tolist(), (lead / step.tau <= -CLAMP).all(0).tolist()
    at_least = similarity.shape[1] - torch.searchsorted(similarity.flip(1).contiguous(), similarity.contiguous())
    scratch = torch.empty(3, *block.scores.shape, dtype=similarity.dtype, device=similarity.device)
    for p, n in enumerate(block.reach):
        own, counts = similarity[:n, p : p + 1], block.counts[:n]
        if clear[p]:  # as for a query that is its own positive: every negative is beyond the clamp
            precision[:n] += 1 / counts
            continue
        above = _negatives_above(block.scores[:n], own, step, beyond[p], scratch[:, :n])
        soft = _others(similarity[:n], p, step.tau) if smooth_positives else None
        positives = at_least[:n, p].to(own.dtype) if soft is None else 1 + soft.sum(1)
        rank = positives + above.rank
        precision[:n] += positives / rank / counts
        if gradient is None:
            continue
        weight = positives / rank.square() / counts
        gradient[:n].addcmul_(above.soft, weight[:, None], value=-1 / step.tau)
        if above.linear is not None:
            gradient[:n].addcmul_(above.linear, weight[:, None], value=-step.rho)
        pull[:n, p] += weight * above.slope
        if soft is not None:
            push = (above.rank / rank.square() / counts / step.tau)[:, None] * (soft - soft * soft)
            pull[:n] += push
            pull[:n, p] -= push.sum(1)
    return precision, None if gradient is None else gradient.scatter_add_(1, block.columns, pull)


def _others(similarity: Tensor, p: int, tau: float) -> Tensor:
    """(q, P) sigma of every positive against the p-th, 0 at the p-th itself and in the padding."""
    soft = sigma((similarity - similarity[:, p : p + 1]).div_(tau))
    soft[:, p] = 0
    return soft


def _compiled_loss(
    kernels: Any, scores: Tensor, pairs: Pairs, wanted: bool, step: Step, smooth_positives: bool
) -> tuple[Tensor, Slope | None]:
    """`average_precision_loss` where kernels serve."""
    listed = compiled.Listed.of(pairs.labels, pairs.ref_labels)
    queries = int(np.count_nonzero(listed.counts))
    precision = np.zeros(len(scores))
    gradient = torch.zeros_like(scores) if wanted else scores.new_empty(len(scores), 0)
    settings = (*step, CLAMP), smooth_positives, 1 / max(1, queries)

    def work(rows: tuple[int, int]) -> None:
        kernels.average_precisions(scores.numpy(), *listed, *settings, rows, precision, gradient.numpy())

    compiled.share(work, int(listed.counts.sum()) * scores.shape[1])
    value = scores.new_tensor(1 - precision.sum() / queries if queries else 0.0)
    return value, Slope(gradient) if wanted else None


def average_precision_loss(
    scores: Tensor, pairs: Pairs, wanted: bool, *, step: Step, smooth_positives: bool
) -> tuple[Tensor, Slope | None]:
    """1 - mean AP over the queries with a positive, 0 if there are none: a Formula.

    smooth_positives: a positive's rank among the positives is 1 + sum of sigma over the others (SmoothAP); else the
    number of positives at least as near, without gradient (SupAP).
    """
    if kernels := compiled.kernels(scores):
        return _compiled_loss(kernels, scores.contiguous(), pairs, wanted, step, smooth_positives)
    if gpu := compiled.fused(scores, pairs.labels):
        return gpu.average_precision(scores.contiguous(), pairs, wanted, step, CLAMP, smooth_positives)
    positives = Positives.of(pairs)
    gradient = torch.zeros_like(scores) if wanted else None
    total = scores.new_zeros(())
    for block in positives.blocks(scores):
        precision, slope = _precision(block, step, smooth_positives, wanted)
        total += precision.sum()
        if gradient is not None and slope is not None:
            gradient.index_copy_(0, block.rows, slope.div_(-len(positives.sizes)))
    queries = len(positives.sizes)
    return (1 - total / queries if queries else total), None if gradient is None else Slope(gradient)
