"""The losses of the experiments, all called loss(embeddings, labels, ref_emb=None, ref_labels=None) -> scalar."""

from trainables.losses.modules import (
    ROADMAP,
    BlackBoxAP,
    CalibrationLoss,
    FastAP,
    PairLoss,
    SmoothAP,
    SoftBinAP,
    SupAP,
)

__all__ = ["ROADMAP", "BlackBoxAP", "CalibrationLoss", "FastAP", "PairLoss", "SmoothAP", "SoftBinAP", "SupAP"]
