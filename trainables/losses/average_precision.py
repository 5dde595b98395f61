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
from trainables.losses.scores import Formula, Pairs

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
    functional.threshold_(difference, -CLAMP, -torch.inf)
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
