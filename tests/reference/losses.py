"""The losses as their definitions say them: every pair, every query, plain loops, gradients by autograd."""

import math

import torch
from torch import Tensor

Scored = tuple[Tensor, Tensor]


def scores_and_same(
    embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
) -> Scored:
    """(Q, M) similarities and (Q, M) bool of one class."""
    if ref_emb is None or ref_labels is None:
        ref_emb, ref_labels = embeddings, labels
    return embeddings @ ref_emb.T, labels[:, None] == ref_labels[None, :]


def sigma(t: Tensor, tau: float) -> Tensor:
    return torch.sigmoid((t / tau).clamp(-50, 50))


def sup_step(t: Tensor, tau: float, rho: float, delta: float | None, offset: float | None, start: float) -> Tensor:
    edge = 0.0 if delta is None else delta
    if offset is None:
        offset = start + 1 / (1 + math.exp(-edge / tau))
    if t.item() > edge:
        return rho * (t - edge) + offset
    return sigma(t, tau) + (start if t.item() > 0 else 0.0)


def _mean_loss(precisions: list[Tensor], scores: Tensor) -> Tensor:
    return 1 - torch.stack(precisions).mean() if precisions else scores.sum() * 0


def sup_ap(
    scores: Tensor, same: Tensor, tau: float, rho: float, delta: float | None, offset: float | None, start: float
) -> Tensor:
    precisions = []
    for s, positive in zip(scores, same, strict=True):
        terms = []
        for k in positive.nonzero()[:, 0]:
            ahead = sum(1 for j in positive.nonzero()[:, 0] if j != k and s[j] >= s[k])
            behind = sum(sup_step(s[j] - s[k], tau, rho, delta, offset, start) for j in (~positive).nonzero()[:, 0])
            terms.append((1 + ahead) / (1 + ahead + behind + 0 * s[k]))
        if terms:
            precisions.append(torch.stack(terms).mean())
    return _mean_loss(precisions, scores)


def smooth_ap(scores: Tensor, same: Tensor, tau: float) -> Tensor:
    precisions = []
    for s, positive in zip(scores, same, strict=True):
        terms = []
        for k in positive.nonzero()[:, 0]:
            ahead = sum(sigma(s[j] - s[k], tau) for j in positive.nonzero()[:, 0] if j != k)
            behind = sum(sigma(s[j] - s[k], tau) for j in (~positive).nonzero()[:, 0])
            terms.append((1 + ahead + 0 * s[k]) / (1 + ahead + behind + 0 * s[k]))
        if terms:
            precisions.append(torch.stack(terms).mean())
    return _mean_loss(precisions, scores)


def calibration(scores: Tensor, same: Tensor, within: bool, pos_margin: float, neg_margin: float) -> Tensor:
    pull, push = [], []
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            if same[i, j] and not (within and i == j) and scores[i, j] < pos_margin:
                pull.append(pos_margin - scores[i, j])
            if not same[i, j] and scores[i, j] > neg_margin:
                push.append(scores[i, j] - neg_margin)
    return scores.sum() * 0 + sum(torch.stack(x).mean() for x in (pull, push) if x)


def pair_loss(scores: Tensor, same: Tensor, within: bool, margin: float) -> Tensor:
    total = scores.sum() * 0
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            if same[i, j] and not (within and i == j) and scores[i, j] < 1 - 1e-5:
                total = total + 1 - scores[i, j]
            if not same[i, j] and scores[i, j] > margin:
                total = total + scores[i, j]
    return total / scores.shape[0]


def soft_bin_ap(scores: Tensor, same: Tensor, counted: Tensor, centres: int, low: float, high: float) -> Tensor:
    """counted (Q, M): the references that take part; each bin is min of its two flanks, the end bins flat outward."""
    spacing = (high - low) / (centres - 1)
    precisions = []
    for s, positive, part in zip(scores, same, counted, strict=True):
        if not (positive & part).any():
            continue
        hits, seen = [], []
        for b in range(centres):
            centre = high - b * spacing
            pulse = (1 - (s - centre).abs() / spacing).clamp(min=0)
            if b == 0:
                pulse = torch.where(s >= high, 1.0, pulse)
            if b == centres - 1:
                pulse = torch.where(s <= low, 1.0, pulse)
            hits.append((pulse * (positive & part)).sum())
            seen.append((pulse * part).sum())
        hit, found, total = torch.stack(hits), torch.stack(hits).cumsum(0), torch.stack(seen).cumsum(0)
        precisions.append((hit * found / (total + 1e-300)).sum() / (positive & part).sum())
    return _mean_loss(precisions, scores)


def black_box_ranks(s: Tensor) -> Tensor:
    """(M,) -> 1 + the number of greater scores, divided by M; equal scores in their order."""
    m = len(s)
    return torch.tensor(
        [(1 + sum(1 for j in range(m) if s[j] > s[k] or (s[j] == s[k] and j < k))) / m for k in range(m)],
        dtype=s.dtype,
    )


def black_box_ap(shifted: Tensor, same: Tensor, lambda_: float) -> Scored:
    """Already perturbed scores -> (value, gradient on the scores) by the finite difference of the ranks."""
    queries = [i for i in range(len(shifted)) if same[i].any()]
    value, gradient = torch.zeros((), dtype=shifted.dtype), torch.zeros_like(shifted)
    for i in queries:
        rank = black_box_ranks(shifted[i])
        positives = same[i].nonzero()[:, 0].tolist()
        on_rank = torch.zeros_like(rank)
        for k in positives:
            ahead = sum(1 for j in positives if rank[j] <= rank[k]) / len(rank)
            value = value + ahead / rank[k] / len(positives) / len(queries)
            on_rank[k] = ahead / rank[k] ** 2 / len(positives) / len(queries)
        gradient[i] = (black_box_ranks(shifted[i] + lambda_ * on_rank) - rank) / lambda_
    return 1 - value, gradient
