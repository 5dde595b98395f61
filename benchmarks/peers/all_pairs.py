"""The average precisions as one writes them first: every pair of references of every query at once, B^3 numbers.

The same numbers as trainables.losses (tests/benchmarks), gradients by autograd; no trick and no brake.
"""

import torch
from torch import Tensor


def _differences(embeddings: Tensor) -> Tensor:
    """(B, B, B): at [i, k, j] by how much j is nearer to the query i than k is."""
    scores = embeddings @ embeddings.T
    return scores[:, None, :] - scores[:, :, None]


def _loss(above_positives: Tensor, above_negatives: Tensor, same: Tensor) -> Tensor:
    """1 - mean AP from (B, B): at [i, k] how many positives and how many negatives of i rank above k."""
    among = 1 + above_positives
    precision = (among / (among + above_negatives) * same).sum(1) / same.sum(1)
    return 1 - precision.mean()


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """(B, B) of one class, the query itself among them; (B, B, B) not the same reference twice."""
    same = (labels[:, None] == labels[None, :]).float()
    return same, 1 - torch.eye(len(labels), device=labels.device)


def sup_ap(
    embeddings: Tensor,
    labels: Tensor,
    tau: float = 0.01,
    rho: float = 100.0,
    delta: float = 0.05,
    offset: float = 1.44,
    start: float = 0.5,
) -> Tensor:
    """SupAP (arXiv 2110.01445, eq. 3 to 7): embeddings (B, D) of length 1, labels (B,) -> scalar."""
    difference = _differences(embeddings)
    same, other = _pairs(labels)
    near = torch.sigmoid((difference / tau).clamp(-50, 50)) + start * (difference > 0)
    negative = torch.where(difference > delta, rho * (difference - delta) + offset, near)
    positive = (difference >= 0).float() * other
    return _loss((positive * same[:, None, :]).sum(2), (negative * (1 - same)[:, None, :]).sum(2), same)


def smooth_ap(embeddings: Tensor, labels: Tensor, tau: float = 0.01) -> Tensor:
    """SmoothAP (arXiv 2007.12163, eq. 6): embeddings (B, D) of length 1, labels (B,) -> scalar."""
    above = torch.sigmoid((_differences(embeddings) / tau).clamp(-50, 50))
    same, other = _pairs(labels)
    return _loss((above * other * same[:, None, :]).sum(2), (above * (1 - same)[:, None, :]).sum(2), same)
