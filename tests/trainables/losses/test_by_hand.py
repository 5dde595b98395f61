"""Fractions worked out on paper."""

import math

import pytest
import torch

from tests.trainables.losses.cases import planar
from trainables.losses import ROADMAP, CalibrationLoss, PairLoss, SmoothAP, SupAP

A, B = 0, 1


def test_perfect_ranking_is_zero() -> None:
    embeddings, labels = planar(0, 5, 90, 95), torch.tensor([A, A, B, B])
    assert SupAP()(embeddings, labels).item() == pytest.approx(0, abs=1e-12)


def test_one_negative_between_query_and_positive() -> None:
    # Query at 0: itself, then the negative at 60 (s 1/2), then its positive at 90 (s 0): t = 1/2 above the latter.
    # Hs(1/2) = 2 * 1/2 + 1 = 2, so AP = (1/1 + 2 / (2 + 2)) / 2 = 3/4. Its own rank: sigma(-50) = 0.
    memory, known = planar(0, 60, 90), torch.tensor([A, B, A])
    loss = SupAP(tau=0.01, rho=2.0, delta=None, offset=1.0)(planar(0), torch.tensor([A]), memory, known)
    assert loss.item() == pytest.approx(1 / 4, rel=1e-12)


def test_a_negative_at_a_tie_counts_one_half() -> None:
    memory, known = planar(30, 30), torch.tensor([A, B])
    loss = SupAP()(planar(0), torch.tensor([A]), memory, known)
    assert loss.item() == pytest.approx(1 - 1 / (1 + 0.5), rel=1e-12)


def test_positives_at_a_tie_both_count() -> None:
    # rank+ = 2 for both, and a negative far above (t = 1 - 1/2, Hs = 1): AP = 2 / 3.
    memory, known = planar(60, 60, 0), torch.tensor([A, A, B])
    loss = SupAP(rho=0.0, offset=1.0)(planar(0), torch.tensor([A]), memory, known)
    assert loss.item() == pytest.approx(1 / 3, rel=1e-12)


def test_smooth_ap_gives_positives_at_a_tie_one_half() -> None:
    # rank+ = 1 + 1/2; the negative counts sigma(50) = 1: AP = 1.5 / 2.5.
    memory, known = planar(60, 60, 0), torch.tensor([A, A, B])
    loss = SmoothAP(tau=0.01)(planar(0), torch.tensor([A]), memory, known)
    assert loss.item() == pytest.approx(0.4, rel=1e-12)


def test_the_pieces_of_the_step() -> None:
    tau, rho, delta, offset, start = 0.1, 3.0, 0.2, 1.44, 0.5
    for gap, counted in (
        (-0.1, 1 / (1 + math.exp(1))),
        (0.1, start + 1 / (1 + math.exp(-1))),
        (0.3, rho * (0.3 - delta) + offset),
    ):
        degrees = [math.degrees(math.acos(s)) for s in (0.5, 0.5 + gap)]
        loss = SupAP(tau, rho, delta, offset, start)(
            planar(0), torch.tensor([A]), planar(*degrees), torch.tensor([A, B])
        )
        assert loss.item() == pytest.approx(1 - 1 / (1 + counted), rel=1e-9)


def test_calibration_and_pairs() -> None:
    # similarities: 0-60: 1/2 (positive), 0-90: 0, 60-90: cos 30
    embeddings, labels, near = planar(0, 60, 90), torch.tensor([A, A, B]), math.cos(math.pi / 6)
    assert CalibrationLoss(0.9, 0.6)(embeddings, labels).item() == pytest.approx(0.4 + near - 0.6, rel=1e-12)
    assert PairLoss(0.5)(embeddings, labels).item() == pytest.approx((2 * 0.5 + 2 * near) / 3, rel=1e-12)


def test_roadmap_is_the_weighted_sum() -> None:
    embeddings, labels = planar(0, 60, 90, 100), torch.tensor([A, A, B, B])
    expected = 0.25 * CalibrationLoss()(embeddings, labels) + 2 * SupAP()(embeddings, labels)
    assert ROADMAP(0.25, 2.0)(embeddings, labels).item() == pytest.approx(expected.item(), rel=1e-12)
