"""BlackBoxAP: average precision through exact ranks (Rolinek et al., CVPR 2020, arXiv 1912.03500)."""

import torch
from torch import Tensor

from trainables.losses.pairs import Pairs, Slope


def ranks(scores: Tensor) -> Tensor:
    """(Q, M) -> the rank of every score in its row, 1 for the greatest, divided by M; of equal scores the first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(1, scores.shape[1] + 1, device=scores.device, dtype=scores.dtype) / scores.shape[1]
    return torch.empty_like(scores).scatter_(1, order, places.expand_as(scores))


def black_box_ap_loss(
    scores: Tensor, pairs: Pairs, wanted: bool, *, lambda_: float, margin: float
) -> tuple[Tensor, Slope | None]:
    """1 - mean AP of the scores pushed towards error by margin * |noise| / 2, over the queries with a positive.

    AP is the mean over the positives of (rank among the positives) / (rank among all). The ranks' gradient is the
    finite difference (rank(s + lambda g) - rank(s)) / lambda, g the gradient of this loss on the ranks: whatever
    weights it outside scales the result, not g. The noise comes from torch's default generator. A Formula.
    """
    positive = pairs.same()
    valid = positive.any(1)
    queries = int(valid.sum())
    if queries == 0:
        return scores.new_zeros(()), Slope(torch.zeros_like(scores)) if wanted else None
    relevance = positive.to(scores.dtype)
    noise = torch.randn_like(scores).abs_()
    shifted = scores - margin * noise * (relevance - 0.5)
    rank = ranks(shifted)
    among_positives = ranks(shifted.masked_fill(~positive, -torch.inf))
    weight = relevance / relevance.sum(1, keepdim=True).clamp(min=1) / queries
    value = 1 - (weight * among_positives / rank).sum()
    if not wanted:
        return value, None
    on_rank = weight * among_positives / rank.square()
    return value, Slope((ranks(shifted + lambda_ * on_rank) - rank) / lambda_)
