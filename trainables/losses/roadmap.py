"""ROADMAP: calibration + SupAP as one loss."""

from torch import Tensor, nn

from trainables.losses.calibration import CalibrationLoss
from trainables.losses.ranking import SupAP
from trainables.losses.settings import number


class ROADMAP(nn.Module):
    """calibration_weight * CalibrationLoss + ap_weight * SupAP (Ramzi et al. 2021, arXiv 2110.01445, eq. 10).

    The paper writes lambda and 1 - lambda for the two weights; its presets set both to 1.
    """

    def __init__(
        self,
        calibration_weight: float = 1.0,
        ap_weight: float = 1.0,
        tau: float = 0.01,
        rho: float = 100.0,
        delta: float | None = 0.05,
        offset: float | None = 1.44,
        start: float = 0.5,
        pos_margin: float = 0.9,
        neg_margin: float = 0.6,
    ) -> None:
        super().__init__()
        self.calibration_weight = number("ROADMAP", "calibration_weight", calibration_weight, least=0.0)
        self.ap_weight = number("ROADMAP", "ap_weight", ap_weight, least=0.0)
        self.ap = SupAP(tau, rho, delta, offset, start)
        self.calibration = CalibrationLoss(pos_margin, neg_margin)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """embeddings (B, D) of length 1, labels (B,), references (M, D), (M,) or the batch itself -> scalar."""
        calibration = self.calibration(embeddings, labels, ref_emb, ref_labels)
        ap = self.ap(embeddings, labels, ref_emb, ref_labels)
        return self.calibration_weight * calibration + self.ap_weight * ap
