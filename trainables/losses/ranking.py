"""SupAP and SmoothAP: average precision as a loss."""

import math

from torch import Tensor, nn

from trainables.losses.relevance import relevance
from trainables.losses.settings import number
from trainables.losses.smooth_rank import SmoothStep, average_precision


class SupAP(nn.Module):
    """1 - mean smooth AP, an upper bound of 1 - AP (Ramzi et al., NeurIPS 2021, arXiv 2110.01445, eq. 3 to 5).

    tau: temperature of the sigmoid; rho: slope beyond delta (None for delta: beyond 0); offset: value just beyond
    delta (None: start + sigmoid(delta / tau), a continuous step); start: added from 0 on.
    """

    def __init__(
        self,
        tau: float = 0.01,
        rho: float = 100.0,
        delta: float | None = 0.05,
        offset: float | None = 1.44,
        start: float = 0.5,
    ) -> None:
        super().__init__()
        tau = number("SupAP", "tau", tau, above=0.0)
        rho = number("SupAP", "rho", rho, least=0.0)
        start = number("SupAP", "start", start)
        if delta is not None:
            delta = number("SupAP", "delta", delta, least=0.0)
        if offset is None:
            offset = start + 1.0 / (1.0 + math.exp(-(delta or 0.0) / tau))
        self.step = SmoothStep(tau, rho, delta, number("SupAP", "offset", offset), start)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """embeddings (B, D) of length 1, labels (B,), references (M, D), (M,) or the batch itself -> scalar."""
        return _ranking_loss(self.step, embeddings, labels, ref_emb, ref_labels, smooth_positives=False)


class SmoothAP(nn.Module):
    """1 - mean smooth AP with a sigmoid for every pair (Brown et al., ECCV 2020, arXiv 2007.12163, eq. 5)."""

    def __init__(self, tau: float = 0.01) -> None:
        super().__init__()
        self.step = SmoothStep(number("SmoothAP", "tau", tau, above=0.0))

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """As SupAP; positives too are compared by the sigmoid and get its gradient."""
        return _ranking_loss(self.step, embeddings, labels, ref_emb, ref_labels, smooth_positives=True)


def _ranking_loss(
    step: SmoothStep,
    embeddings: Tensor,
    labels: Tensor,
    ref_emb: Tensor | None,
    ref_labels: Tensor | None,
    *,
    smooth_positives: bool,
) -> Tensor:
    known = relevance(embeddings, labels, ref_emb, ref_labels)
    ap = average_precision(known.scores, known.positive, step, smooth_positives=smooth_positives)
    if not bool(known.positive.any()):
        return known.scores.sum() * 0.0  # nothing to rank: no loss, and a gradient of zeros
    return 1.0 - ap
