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
from trainables.losses.binned import Bins, binned_ap_loss
from trainables.losses.blackbox import black_box_ap_loss
from trainables.losses.contrast import calibration, pair_loss
from trainables.losses.pairs import Formula, Pairs, Slope
from trainables.losses.scores import score_loss


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
    """slope + weight * more, where a part that is missing counts 0."""
    if more is None:
        return slope
    if weight != 1:  # as published: one pass over (Q, M) less
        more.scores.mul_(weight)
    lengths = [None if part is None else part * weight for part in more[1:]]
    if slope is None:
        return Slope(more.scores, *lengths)
    ours = (slope.length, slope.ref_length)
    summed = (new if old is None else old if new is None else old + new for old, new in zip(ours, lengths, strict=True))
    return Slope(slope.scores.add_(more.scores), *summed)


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


class FastAP(ScoreLoss):
    """1 - mean AP from a histogram of squared distances (Cakir et al., CVPR 2019), as pytorch-metric-learning's.

    num_bins: bins of 4 / num_bins over the squared distance 0 to 4. The query is no reference of its own; queries
    without a positive are left out. UserError: num_bins below 1 or not whole.
    """

    def __init__(self, num_bins: int = 10) -> None:
        bins = Bins(settings.whole("FastAP", "num_bins", num_bins, least=1) + 1, low=-1.0, high=1.0)
        super().__init__(partial(binned_ap_loss, bins=bins, count_self=False, normalise=True), num_bins=num_bins)


class SoftBinAP(ScoreLoss):
    """1 - mean AP from nq triangular bins of similarity (Revaud et al., ICCV 2019, arXiv 1906.07589, eq. 4 to 7).

    min, max: the similarity of the last and of the first centre; the end bins are flat beyond them. The query counts
    among its positives. UserError: nq below 2 or not whole, min not below max.
    """

    def __init__(self, nq: int = 20, min: float = -1.0, max: float = 1.0) -> None:
        count = settings.whole("SoftBinAP", "nq", nq, least=2)
        low = settings.number("SoftBinAP", "min", min)
        bins = Bins(count, low, settings.number("SoftBinAP", "max", max, above=low))
        super().__init__(partial(binned_ap_loss, bins=bins, count_self=True, normalise=False), nq=nq, min=min, max=max)


class BlackBoxAP(ScoreLoss):
    """1 - mean AP by exact ranks whose gradient is a finite difference (Rolinek et al., CVPR 2020).

    lambda_: step of the difference; margin: scale of the noise, drawn from torch's default generator at every call,
    that lowers the positives and raises the negatives. UserError: lambda_ <= 0, margin < 0.
    """

    def __init__(self, lambda_: float = 4.0, margin: float = 0.02) -> None:
        super().__init__(
            partial(
                black_box_ap_loss,
                lambda_=settings.number("BlackBoxAP", "lambda_", lambda_, above=0),
                margin=settings.number("BlackBoxAP", "margin", margin, least=0),
            ),
            lambda_=lambda_,
            margin=margin,
        )


class PairLoss(ScoreLoss):
    """(sum of 1 - s over positives with s < 1 - 1e-5 + sum of s over negatives with s > margin) / B.

    margin: a cosine similarity. The contrastive baseline of arXiv 2110.01445. UserError: margin outside [-1, 1].
    """

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__(partial(pair_loss, margin=settings.similarity("PairLoss", "margin", margin)), margin=margin)
