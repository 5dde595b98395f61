"""Every loss against its definition in plain loops, within a batch and against a memory; values and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.reference import losses as slow
from tests.trainables.losses.cases import LABELS, MEMORY, close, gradient, unit
from trainables import losses
from trainables.losses.modules import ScoreLoss
from trainables.losses.positives import BLOCK

Slow = Callable[[Tensor, Tensor, bool], Tensor]
DEFAULT = {"tau": 0.01, "rho": 100.0, "delta": 0.05, "offset": 1.44, "start": 0.5}


def sup(**changes: Any) -> tuple[ScoreLoss, Slow]:
    settings = {**DEFAULT, **changes}
    return losses.SupAP(**settings), lambda scores, same, within: slow.sup_ap(scores, same, **settings)


def calibration(scores: Tensor, same: Tensor, within: bool) -> Tensor:
    return slow.calibration(scores, same, within, 0.9, 0.1)


def roadmap(scores: Tensor, same: Tensor, within: bool) -> Tensor:
    return 0.3 * calibration(scores, same, within) + 0.7 * slow.sup_ap(scores, same, **{**DEFAULT, "tau": 0.1})


def fast(scores: Tensor, same: Tensor, within: bool) -> Tensor:
    counted = ~torch.eye(*scores.shape, dtype=torch.bool) if within else torch.ones_like(same)
    return slow.soft_bin_ap(scores, same, counted, 11, -1.0, 1.0)


def soft(scores: Tensor, same: Tensor, within: bool) -> Tensor:
    return slow.soft_bin_ap(scores, same, torch.ones_like(same), 9, -0.6, 0.7)


PAIRED: dict[str, tuple[ScoreLoss, Slow]] = {
    "sup": sup(),
    "sup_inat": sup(offset=1.0, start=0.0),
    "sup_warm": sup(tau=0.2, delta=0.3, rho=3.0),
    "sup_continuous": sup(tau=0.1, delta=0.2, offset=None),
    "sup_no_middle": sup(delta=None, offset=0.7),
    "sup_no_middle_continuous": sup(delta=None, offset=None),
    "sup_flat": sup(rho=0.0),
    "smooth": (losses.SmoothAP(0.1), lambda scores, same, within: slow.smooth_ap(scores, same, 0.1)),
    "smooth_cold": (losses.SmoothAP(0.01), lambda scores, same, within: slow.smooth_ap(scores, same, 0.01)),
    "calibration": (losses.CalibrationLoss(0.9, 0.1), calibration),
    "roadmap": (losses.ROADMAP(0.3, 0.7, tau=0.1, neg_margin=0.1), roadmap),
    "fast": (losses.FastAP(10), fast),
    "soft": (losses.SoftBinAP(9, -0.6, 0.7), soft),
    "pair": (losses.PairLoss(0.2), lambda scores, same, within: slow.pair_loss(scores, same, within, 0.2)),
}


@pytest.mark.parametrize("name", PAIRED)
def test_within_a_batch(name: str) -> None:
    loss, definition = PAIRED[name]
    # through the normalisation, as in a network: then the losses that normalise agree with those that do not
    raw = unit(12, 1).requires_grad_()
    value = loss(functional.normalize(raw, dim=1), LABELS)
    scores, same = slow.scores_and_same(functional.normalize(raw, dim=1), LABELS)
    expected = definition(scores, same, True)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    assert close(gradient(value, raw), gradient(expected, raw))


@pytest.mark.parametrize("references", [12, 7])
@pytest.mark.parametrize("name", PAIRED)
def test_against_a_memory(name: str, references: int) -> None:
    loss, definition = PAIRED[name]
    raw, memory = unit(12, 2).requires_grad_(), unit(references, 3).requires_grad_()
    known = MEMORY[:references]
    value = loss(functional.normalize(raw, dim=1), LABELS, functional.normalize(memory, dim=1), known)
    scores, same = slow.scores_and_same(
        functional.normalize(raw, dim=1), LABELS, functional.normalize(memory, dim=1), known
    )
    expected = definition(scores, same, False)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    for leaf in (raw, memory):
        assert close(gradient(value, leaf), gradient(expected, leaf))


@pytest.mark.parametrize("name", ["sup", "smooth", "fast"])
def test_blocks_do_not_change_the_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = PAIRED[name][0]
    embeddings = unit(12, 4).requires_grad_()
    whole = loss(embeddings, LABELS)
    monkeypatch.setitem(BLOCK, "cpu", 30)
    blocked = loss(embeddings, LABELS)
    assert blocked.item() == pytest.approx(whole.item(), rel=1e-14)
    assert close(gradient(blocked, embeddings), gradient(whole, embeddings))


@pytest.mark.parametrize("name", ["sup_warm", "sup_continuous", "smooth", "calibration", "fast", "soft", "pair"])
def test_gradcheck(name: str) -> None:
    loss = PAIRED[name][0]

    def value(queries: Tensor, references: Tensor) -> Tensor:
        return loss(functional.normalize(queries, dim=1), LABELS[:6], functional.normalize(references, dim=1), MEMORY)

    inputs = unit(6, 5, 3).requires_grad_(), unit(12, 6, 3).requires_grad_()
    assert torch.autograd.gradcheck(value, inputs, eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("memory", [False, True])
def test_black_box_takes_the_finite_difference_of_the_ranks(memory: bool) -> None:
    scores_of = (unit(12, 7), LABELS, unit(12, 8), MEMORY) if memory else (unit(12, 7), LABELS)
    queries = scores_of[0].requires_grad_()
    torch.manual_seed(3)
    value = losses.BlackBoxAP(4.0, 0.3)(*scores_of)
    scores, same = slow.scores_and_same(*scores_of)
    torch.manual_seed(3)
    shifted = scores.detach() - 0.3 * torch.randn_like(scores).abs() * (same.double() - 0.5)
    expected, on_scores = slow.black_box_ap(shifted, same, 4.0)
    assert on_scores.any()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    assert close(gradient(value, queries), gradient((scores * on_scores).sum(), queries))
