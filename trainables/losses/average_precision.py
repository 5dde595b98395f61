"""Average precision with a smooth rank: SupAP (arXiv 2110.01445, eq. 3 to 7) and SmoothAP (arXiv 2007.12163).

AP_i = 1/|P_i| sum over k in P_i of rank+_ik / (rank+_ik + rank-_ik). Only the positives' ranks count, so the work is
(query, its positives, all references), positive by positive, in blocks that stay in the cache.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.positives import Block, Positives
from trainables.losses.scores import Pairs, Slope

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


def sigma(difference: Tensor, tau: float) -> Tensor:
    """sigma(difference / tau) in place, exactly 0 below the clamp (where it is 2e-22), so without gradient there."""
    difference.div_(tau)
    functional.threshold(difference, -CLAMP, -torch.inf, inplace=True)
    return difference.sigmoid_()


def negatives_above(
    scores: Tensor, positive: Tensor, step: Step, beyond: bool, scratch: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """rank- of one positive of each query, and the step's slope at every reference.

    scores (q, M) with -inf at the positives; positive (q, 1); beyond: whether any score lies above its positive.
    -> (q,), (q, M); the slope lies in the scratch and includes the factor tau.
    """
    difference, value = scratch
    torch.sub(scores, positive, out=difference)
    if not beyond or step.is_sigmoid:
        soft = sigma(difference, step.tau)
        return soft.sum(1), torch.addcmul(soft, soft, soft, value=-1, out=value)
    linear = difference > step.delta
    value.copy_(difference)
    soft = sigma(value, step.tau)
    above = torch.where(linear, difference * step.rho + (step.offset - step.rho * step.delta), soft)
    if step.start:
        middle = (difference > 0).logical_and_(linear.logical_not())
        above.add_(middle, alpha=step.start)
    slope = torch.addcmul(soft, soft, soft, value=-1, out=difference)
    return above.sum(1), slope.masked_fill_(linear, step.rho * step.tau)


def _precision(block: Block, step: Step, smooth_positives: bool, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """A block's AP (q,), and the gradient of its sum of AP on the block's scores (q, M)."""
    similarity = block.similarity
    precision = torch.zeros_like(similarity[:, 0])
    gradient = torch.zeros_like(block.scores) if wanted else None
    pull = torch.zeros_like(similarity)  # (q, P) the gradient on the positives' scores
    beyond = (block.scores.amax(1, keepdim=True) > similarity).any(0).tolist()
    at_least = similarity.shape[1] - torch.searchsorted(similarity.flip(1).contiguous(), similarity.contiguous())
    scratch = torch.empty_like(block.scores), torch.empty_like(block.scores)
    for p, n in enumerate(block.reach):
        own, counts = similarity[:n, p : p + 1], block.counts[:n]
        views = scratch[0][:n], scratch[1][:n]
        negatives, slope = negatives_above(block.scores[:n], own, step, beyond[p], views)
        if smooth_positives:
            soft = sigma(similarity[:n] - own, step.tau)
            soft[:, p] = 0
            positives = 1 + soft.sum(1)
        else:
            positives = at_least[:n, p].to(own.dtype)
        rank = positives + negatives
        precision[:n] += positives / rank / counts
        if gradient is None:
            continue
        weight = positives / rank.square() / counts / step.tau
        gradient[:n].addcmul_(slope, weight[:, None], value=-1)
        pull[:n, p] += weight * slope.sum(1)
        if smooth_positives:
            push = (negatives / rank.square() / counts / step.tau)[:, None] * (soft - soft * soft)
            pull[:n] += push
            pull[:n, p] -= push.sum(1)
    return precision, None if gradient is None else gradient.scatter_add_(1, block.columns, pull)


def average_precision_loss(
    scores: Tensor, pairs: Pairs, wanted: bool, *, step: Step, smooth_positives: bool
) -> tuple[Tensor, Slope | None]:
    """1 - mean AP over the queries with a positive, 0 if there are none: a Formula.

    smooth_positives: a positive's rank among the positives is 1 + sum of sigma over the others (SmoothAP); else the
    number of positives at least as near, without gradient (SupAP).
    """
    positives = Positives.of(pairs)
    gradient = torch.zeros_like(scores) if wanted else None
    total = scores.new_zeros(())
    for block in positives.blocks(scores):
        precision, slope = _precision(block, step, smooth_positives, wanted)
        total += precision.sum()
        if gradient is not None and slope is not None:
            gradient[block.rows] = slope.div_(-len(positives.sizes))
    queries = len(positives.sizes)
    return (1 - total / queries if queries else total), None if gradient is None else Slope(gradient)
