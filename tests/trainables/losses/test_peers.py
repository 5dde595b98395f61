"""The same numbers as pytorch-metric-learning, where it has the loss."""

import pytest
from pytorch_metric_learning import distances
from pytorch_metric_learning import losses as peers
from torch.nn import functional

from tests.trainables.losses.cases import LABELS, MEMORY, close, gradient, unit
from trainables.losses import CalibrationLoss, FastAP


@pytest.mark.parametrize("bins", [1, 5, 10])
def test_fast_ap(bins: int) -> None:
    raw = unit(12, 1).requires_grad_()
    ours, theirs = FastAP(bins)(functional.normalize(raw, dim=1), LABELS), peers.FastAPLoss(bins)(raw, LABELS)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
    assert close(gradient(ours, raw), gradient(theirs, raw), rel=1e-7)


@pytest.mark.parametrize("memory", [False, True])
def test_calibration_is_the_contrastive_loss(memory: bool) -> None:
    raw, references = unit(12, 1).requires_grad_(), unit(12, 2)
    theirs = peers.ContrastiveLoss(pos_margin=0.9, neg_margin=0.1, distance=distances.DotProductSimilarity())
    extra = {"ref_emb": references, "ref_labels": MEMORY} if memory else {}
    ours = CalibrationLoss(0.9, 0.1)(raw, LABELS, **extra)
    other = theirs(raw, LABELS, **extra)
    assert ours.item() == pytest.approx(other.item(), rel=1e-12)
    assert close(gradient(ours, raw), gradient(other, raw))
