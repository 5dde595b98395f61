"""Losses of image retrieval, called `loss(embeddings, labels, ref_emb=None, ref_labels=None)`."""

from trainables.losses.calibration import CalibrationLoss
from trainables.losses.ranking import SmoothAP, SupAP
from trainables.losses.roadmap import ROADMAP

__all__ = ["ROADMAP", "CalibrationLoss", "SmoothAP", "SupAP"]
