"""The losses of the experiments, all called loss(embeddings, labels, ref_emb=None, ref_labels=None) -> scalar."""

from trainables.losses.modules import ROADMAP, CalibrationLoss, SmoothAP, SupAP

__all__ = ["ROADMAP", "CalibrationLoss", "SmoothAP", "SupAP"]
