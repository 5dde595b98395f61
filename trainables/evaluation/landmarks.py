"""Landmark retrieval: the easy, medium and hard protocols of Revisited Oxford and Paris.

Radenovic et al. 2018, Revisiting Oxford and Paris, arXiv 1803.11285, section 4. Every gallery image is an easy or a
hard answer of a query, or junk, or wrong:

    easy      positives easy           left out of the ranking: hard, junk
    medium    positives easy, hard     left out: junk
    hard      positives hard           left out: easy, junk

What is wrong is wrong in all three, so one count of the wrong images before each positive serves them all.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainables.errors import UserError

from .embeddings import Embeddings, unit_rows
from .metrics import cutoffs

PROTOCOLS = {"E": ("easy",), "M": ("easy", "hard"), "H": ("hard",)}
PRECISIONS = (1, 5, 10)
# Elements of a float64 block of rows or of scores.
_BLOCK = 2**22

Positions = NDArray[np.int64]


class GroundTruth(Protocol):
    """For each query the gallery positions that are easy and hard answers, and those that do not count."""

    @property
    def easy(self) -> Sequence[Positions]: ...

    @property
    def hard(self) -> Sequence[Positions]: ...

    @property
    def junk(self) -> Sequence[Positions]: ...


def landmark_metrics(
    query: Embeddings, gallery: Embeddings, ground_truth: GroundTruth, ks: Iterable[int] = PRECISIONS
) -> dict[str, float]:
    """Means over the queries that have a positive in the protocol, each in [0, 1], and how many queries there were.

    query (Q, D), gallery (G, D): any float type, numpy or torch; exact cosine similarity, on the device of the query.
    Keys: mapE, mapM, mapH; mpE_at_K, mpM_at_K, mpH_at_K for each k of `ks` (the paper's mP@k); num_queries (all Q)
    and num_lone_queriesE, M, H (of them, those without a positive there, left out of the means).
    AP is the area under the precision-recall curve in trapezoids, as the benchmark computes it. The precision at k
    looks no further than a query's last positive: where that stands at rank r < k, it is the precision at r.
    Equal scores count against the query: a wrong image that ties with a positive is ranked before it.
    Raises UserError for empty, non-finite or mismatched input, k < 1, or a protocol in which no query has a positive.
    """
    values = per_query_landmarks(query, gallery, ground_truth, ks)
    means: dict[str, float] = {}
    lone = {f"num_lone_queries{protocol}": np.isnan(values[f"map{protocol}"]) for protocol in PROTOCOLS}
    for (key, missing), kinds in zip(lone.items(), PROTOCOLS.values(), strict=True):
        if missing.all():
            raise UserError(f"{key[-1]}: none of the {len(missing)} queries has a {' or '.join(kinds)} answer")
    for name, value in values.items():
        means[name] = float(np.nanmean(value))
    counts = {key: float(missing.sum()) for key, missing in lone.items()}
    return {**means, "num_queries": float(len(ground_truth.easy)), **counts}


def per_query_landmarks(
    query: Embeddings,
    gallery: Embeddings,
    ground_truth: GroundTruth,
    ks: Iterable[int] = PRECISIONS,
    block: int = _BLOCK,
) -> dict[str, NDArray[np.float64]]:
    """The metrics of `landmark_metrics` by query, (Q,) each, NaN without a positive. `block` bounds memory only."""
    counted = cutoffs(ks)
    rows, others = unit_rows(query, "query"), unit_rows(gallery, "gallery")
    if others.shape[1] != rows.shape[1]:
        raise UserError(f"query embeddings have {rows.shape[1]} dimensions, gallery embeddings {others.shape[1]}")
    others = others.to(rows.device)
    _check(ground_truth, len(rows), len(others))
    names = [name.format(p) for p in PROTOCOLS for name in ("map{}", *(f"mp{{}}_at_{k}" for k in counted))]
    values = {name: np.full(len(rows), np.nan) for name in names}
    for i, (scores, against) in enumerate(_answers(rows, others, ground_truth, block)):
        easy = np.arange(len(scores)) < len(ground_truth.easy[i])
        for protocol, positive in (("E", easy), ("M", easy | True), ("H", ~easy)):
            if positive.any():
                order = np.argsort(-scores[positive], kind="stable")
                ranks = against[positive][order] + np.arange(1, len(order) + 1)
                values[f"map{protocol}"][i] = average_precision(ranks)
                for k in counted:
                    values[f"mp{protocol}_at_{k}"][i] = precision_at(ranks, k)
    return values


def average_precision(ranks: Positions) -> float:
    """Trapezoids under precision and recall; ranks (P,) of the positives, increasing from 1.

    Each positive adds 1 / P of recall, at the mean of the precisions just before it and at it; before rank 1 it is 1.
    """
    found = np.arange(len(ranks))
    before = np.where(ranks == 1, 1.0, found / np.maximum(ranks - 1, 1))
    return float(((before + (found + 1) / ranks) / 2).mean())


def precision_at(ranks: Positions, k: int) -> float:
    """The share of positives among the first k, or up to the last positive where that comes earlier."""
    reach = min(int(ranks[-1]), k)
    return int((ranks <= reach).sum()) / reach


def _answers(
    query: Tensor, gallery: Tensor, truth: GroundTruth, block: int
) -> Iterator[tuple[NDArray[np.float64], Positions]]:
    """For each query its answers, easy then hard: exact scores (P,), and how many wrong images score at least that."""
    answers = [np.concatenate(own) for own in zip(truth.easy, truth.hard, strict=True)]
    known = [np.concatenate(own) for own in zip(answers, truth.junk, strict=True)]
    dim = query.shape[1]
    height = max(1, block // max(dim, *(len(own) for own in answers)))
    for start in range(0, len(query), height):
        rows = query[start : start + height].double()  # (b, D)
        mine, judged = answers[start : start + height], known[start : start + height]
        exact = [_exact_scores(row, gallery, own, height) for row, own in zip(rows, mine, strict=True)]
        thresholds = pad_sequence(exact, batch_first=True, padding_value=torch.inf)  # (b, P)
        against = torch.zeros(thresholds.shape, dtype=torch.int64, device=rows.device)
        width = max(1, block // max(dim, len(rows)))
        for first in range(0, len(gallery), width):
            scores = rows @ gallery[first : first + width].double().T  # (b, c)
            for row, own in zip(scores, judged, strict=True):
                here = own[(own >= first) & (own < first + scores.shape[1])] - first
                row[torch.from_numpy(here).to(row.device)] = -torch.inf
            against += scores.shape[1] - torch.searchsorted(scores.sort(dim=1).values, thresholds)
        for row, count in zip(exact, against, strict=True):
            yield row.cpu().numpy(), count[: len(row)].cpu().numpy()


def _exact_scores(row: Tensor, gallery: Tensor, positions: Positions, step: int) -> Tensor:
    """(P,) float64: of the gallery's rows at these positions, exact on the grid of `unit_rows` in any order of sums."""
    chosen = torch.from_numpy(positions).to(gallery.device)
    return torch.cat([gallery[part].double() @ row for part in chosen.split(step)])


def _check(truth: GroundTruth, queries: int, gallery: int) -> None:
    kinds = (truth.easy, truth.hard, truth.junk)
    for kind in kinds:
        if len(kind) != queries:
            raise UserError(f"the ground truth has {len(kind)} queries, the embeddings {queries}")
    for i, own in enumerate(zip(*kinds, strict=True)):
        positions = np.concatenate(own)
        if len(positions) and (positions.dtype.kind not in "iu" or min(positions) < 0 or max(positions) >= gallery):
            raise UserError(f"query {i}: an answer is none of the {gallery} positions of the gallery")
        if len(np.unique(positions)) < len(positions):
            raise UserError(f"query {i} judges an image of the gallery twice")
