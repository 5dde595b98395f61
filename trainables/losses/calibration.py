"""The calibration loss: one threshold that separates positives from negatives whatever the query."""

import torch
from torch import Tensor, nn

from trainables.losses.relevance import relevance
from trainables.losses.settings import number


class CalibrationLoss(nn.Module):
    """Contrastive loss on similarities (Ramzi et al. 2021, arXiv 2110.01445, eq. 8).

    Mean of relu(pos_margin - s) over the positive pairs below their margin plus mean of relu(s - neg_margin) over the
    negative pairs above theirs; an image is no pair with itself.
    """

    def __init__(self, pos_margin: float = 0.9, neg_margin: float = 0.6) -> None:
        super().__init__()
        self.pos_margin = number("CalibrationLoss", "pos_margin", pos_margin)
        self.neg_margin = number("CalibrationLoss", "neg_margin", neg_margin)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """embeddings (B, D) of length 1, labels (B,), references (M, D), (M,) or the batch itself -> scalar."""
        known = relevance(embeddings, labels, ref_emb, ref_labels)
        pairs = known.positive
        if ref_emb is None:
            pairs = pairs & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        pull = torch.relu(self.pos_margin - known.scores) * pairs
        push = torch.relu(known.scores - self.neg_margin) * ~known.positive
        return _mean_of_violations(pull) + _mean_of_violations(push)


def _mean_of_violations(values: Tensor) -> Tensor:
    return values.sum() / (values > 0).sum().clamp(min=1)
