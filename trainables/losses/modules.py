"""The losses as modules: they check and keep the numbers, the formulas beside them do the work.

All are called alike: loss(embeddings (B, D) L2-normalised, labels (B,), ref_emb=None (M, D), ref_labels=None (M,))
-> scalar, float32 or float64, differentiable once. Without ref_emb the batch is its own reference and, in the
average precisions, a query is its own positive. With ref_emb (a memory, of any length) positives and negatives come
from it alone, and a query without a positive there is left out of the average precisions.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn

from trainables.losses import settings
from trainables.losses.average_precision import CLAMP, Step, average_precision_loss
from trainables.losses.contrast import calibration
from trainables.losses.scores import Formula, Pairs, Slope, score_loss


class ScoreLoss(nn.Module):
    """A loss of the similarities; the subclasses only say which formula. Source and settings: each subclass."""

    def __init__(self, formula: Formula, **shown: float | int | None) -> None:
        super().__init__()
        self.formula = formula
        self._shown = shown

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """embeddings (B, D), labels (B,), ref_emb (M, D), ref_labels (M,) -> scalar. TypeError: shapes or dtypes."""
        return score_loss(self.formula, embeddings, labels, ref_emb, ref_labels)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._shown.items())


def _sup_step(loss: str, tau: float, rho: float, delta: float | None, offset: float | None, start: float) -> Step:
    """The checked step. delta None has no middle piece; offset None makes it continuous at delta."""
    tau = settings.number(loss, "tau", tau, above=0)
    rho = settings.number(loss, "rho", rho, least=0)
    delta = 0.0 if delta is None else settings.number(loss, "delta", delta, least=0)
    start = settings.number(loss, "start", start, least=0)
    if offset is None:
        offset = start + 1 / (1 + math.exp(-min(delta / tau, CLAMP)))
    return Step(tau, rho, delta, settings.number(loss, "offset", offset, least=0), start)


class SupAP(ScoreLoss):
    """1 - mean AP with an upper bound of the negatives' ranks (Ramzi et al., NeurIPS 2021, eq. 3 to 7).

    A negative whose similarity exceeds a positive's by t counts sigma(t / tau) for t <= 0, start + sigma(t / tau) up
    to delta, rho * (t - delta) + offset above. delta None: no middle piece; offset None: start + sigma(delta / tau).
    UserError: tau <= 0, another setting below 0, anything that is not a finite number.
    """

    def __init__(
        self,
        tau: float = 0.01,
        rho: float = 100.0,
        delta: float | None = 0.05,
        offset: float | None = 1.44,
        start: float = 0.5,
    ) -> None:
        step = _sup_step("SupAP", tau, rho, delta, offset, start)
        super().__init__(
            partial(average_precision_loss, step=step, smooth_positives=False),
            tau=tau,
            rho=rho,
            delta=delta,
            offset=offset,
            start=start,
        )


class SmoothAP(ScoreLoss):
    """1 - mean AP with sigma(t / tau) for every comparison (Brown et al., ECCV 2020, eq. 6). UserError: tau <= 0."""

    def __init__(self, tau: float = 0.01) -> None:
        step = Step(settings.number("SmoothAP", "tau", tau, above=0))
        super().__init__(partial(average_precision_loss, step=step, smooth_positives=True), tau=tau)


class CalibrationLoss(ScoreLoss):
    """Contrastive loss of similarities, mean over the violating pairs of each kind (NeurIPS 2021, eq. 9).

    Margins are cosine similarities: a positive pair below pos_margin and a negative pair above neg_margin count.
    UserError: a margin outside [-1, 1].
    """

    def __init__(self, pos_margin: float = 0.9, neg_margin: float = 0.6) -> None:
        super().__init__(
            _calibration("CalibrationLoss", pos_margin, neg_margin),
            pos_margin=pos_margin,
            neg_margin=neg_margin,
        )


def _calibration(loss: str, pos_margin: float, neg_margin: float) -> Formula:
    return partial(
        calibration,
        pos_margin=settings.similarity(loss, "pos_margin", pos_margin),
        neg_margin=settings.similarity(loss, "neg_margin", neg_margin),
    )


def _weighted(
    scores: Tensor, pairs: Pairs, wanted: bool, *, terms: tuple[tuple[float, Formula], ...]
) -> tuple[Tensor, Slope | None]:
    """The weighted sum of formulas on one similarity product; a term of weight 0 is not computed."""
    value, slope = scores.new_zeros(()), None
    for weight, formula in terms:
        if weight:
            term, more = formula(scores, pairs, wanted)
            value = value + weight * term
            slope = _add(slope, weight, more)
    return value, Slope(torch.zeros_like(scores)) if wanted and slope is None else slope


def _add(slope: Slope | None, weight: float, more: Slope | None) -> Slope | None:
    """slope + weight * more, in place; the slope that has no lengths comes last."""
    if more is None:
        return slope
    scaled = Slope(*(None if part is None else part.mul_(weight) for part in more))
    if slope is None:
        return scaled
    return Slope(slope.scores.add_(scaled.scores), slope.length, slope.ref_length)


class ROADMAP(ScoreLoss):
    """calibration_weight * CalibrationLoss + ap_weight * SupAP on one product of similarities (eq. 10).

    The paper's lambda: calibration_weight = 1 - lambda, ap_weight = lambda; the published presets have 1 and 1.
    UserError: a weight below 0, and what CalibrationLoss and SupAP refuse.
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
        step = _sup_step("ROADMAP", tau, rho, delta, offset, start)
        terms = (
            (
                settings.number("ROADMAP", "calibration_weight", calibration_weight, least=0),
                _calibration("ROADMAP", pos_margin, neg_margin),
            ),
            (
                settings.number("ROADMAP", "ap_weight", ap_weight, least=0),
                partial(average_precision_loss, step=step, smooth_positives=False),
            ),
        )
        super().__init__(
            partial(_weighted, terms=terms),
            calibration_weight=calibration_weight,
            ap_weight=ap_weight,
            tau=tau,
            rho=rho,
            delta=delta,
            offset=offset,
            start=start,
            pos_margin=pos_margin,
            neg_margin=neg_margin,
        )
