"""Retrieval metrics from the ranks of the positives, by query and as means."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.errors import UserError

from .embeddings import Embeddings, Labels, class_codes, unit_rows
from .ranks import positive_ranks

RECALLS = (1, 10, 100, 1000)


def retrieval_metrics(
    query: Embeddings,
    query_labels: Labels,
    gallery: Embeddings | None = None,
    gallery_labels: Labels | None = None,
    ks: Iterable[int] = RECALLS,
    full_ranking: bool = False,
) -> dict[str, float]:
    """Means over the queries that have a positive, each in [0, 1], and how many queries there were.

    query (N, D), gallery (M, D): any float type, numpy or torch; exact cosine similarity, on the device of the
    query. The labels (N,), (M,) are integers or strings. Without a gallery a query is ranked against the others.
    Keys: recall_at_K for each k of `ks` (it may exceed the gallery), precision_at_1, r_precision, map_at_r
    (Musgrave et al. 2020, A Metric Learning Reality Check, equation 2), with `full_ranking` map and mrr;
    num_queries (all N) and num_lone_queries (of them, those without a positive, left out of the means).
    Equal scores count against the query: a negative that ties with a positive is ranked before it.
    Raises UserError for empty, non-finite or mismatched input, k < 1, or when no query has a positive.
    """
    return metric_means(per_query_metrics(query, query_labels, gallery, gallery_labels, ks, full_ranking))


def metric_means(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """What `per_query_metrics` found -> what `retrieval_metrics` gives."""
    lone = np.isnan(values["map_at_r"])
    means = {name: float(value[~lone].mean()) for name, value in values.items()}
    return {**means, "num_queries": float(len(lone)), "num_lone_queries": float(lone.sum())}


def per_query_metrics(
    query: Embeddings,
    query_labels: Labels,
    gallery: Embeddings | None = None,
    gallery_labels: Labels | None = None,
    ks: Iterable[int] = RECALLS,
    full_ranking: bool = False,
    tile: int | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The metrics of `retrieval_metrics` by query, (N,) each in the order given, NaN without a positive.

    `tile`, the edge of a tile of scores, changes speed only.
    """
    counted = cutoffs(ks)
    if (gallery is None) != (gallery_labels is None):
        raise UserError("gallery and gallery_labels go together: one of them is missing")
    rows = unit_rows(query, "query")
    labels = [("query", query_labels, len(rows))]
    others = None
    if gallery is not None and gallery_labels is not None:
        others = unit_rows(gallery, "gallery")
        if others.shape[1] != rows.shape[1]:
            raise UserError(f"query embeddings have {rows.shape[1]} dimensions, gallery embeddings {others.shape[1]}")
        labels.append(("gallery", gallery_labels, len(others)))
    codes, *rest = class_codes(labels)
    values: dict[str, NDArray[np.float64]] = {}
    blocks = positive_ranks(rows, codes, others, rest[0] if rest else None, tile)
    count = len(rows)
    del rows, others  # the search has sorted copies
    for block in blocks:
        found = rank_metrics(block.ranks, block.positives, counted, full_ranking)
        for name, value in zip(found, torch.stack(list(found.values())).cpu().numpy(), strict=True):
            if name not in values:
                values[name] = np.full(count, np.nan)
            values[name][block.queries] = value
    if not values:
        raise UserError(f"none of the {count} queries has a positive: no other image has its label")
    return values


def rank_metrics(ranks: Tensor, positives: Tensor, ks: tuple[int, ...], full_ranking: bool) -> dict[str, Tensor]:
    """(B,) float64 metrics of ranks (B, P), increasing from 1, padded with 0; positives (B,) counts them."""
    first, total = ranks[:, 0], positives.double()
    place = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
    precision = place / ranks.double().masked_fill(ranks == 0, torch.inf)  # at each positive
    within = (ranks > 0) & (ranks <= positives[:, None])
    values = {f"recall_at_{k}": (first <= k).double() for k in ks}
    values["precision_at_1"] = (first == 1).double()
    values["r_precision"] = within.sum(1) / total
    values["map_at_r"] = (precision * within).sum(1) / total
    if full_ranking:
        values["map"] = precision.sum(1) / total
        values["mrr"] = 1 / first.double()
    return values


def metric_names(ks: Iterable[int] = RECALLS, full_ranking: bool = False) -> tuple[str, ...]:
    """The metrics that `retrieval_metrics` gives for these settings, its two counts apart."""
    recalls = (f"recall_at_{k}" for k in cutoffs(ks))
    return (*recalls, "precision_at_1", "r_precision", "map_at_r", *(("map", "mrr") if full_ranking else ()))


def cutoffs(ks: Iterable[int]) -> tuple[int, ...]:
    """The k's, checked; UserError for one that is no whole number from 1."""
    given = tuple(ks)
    for k in given:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise UserError(f"k={k!r}: k must be a whole number from 1")
    return tuple(int(k) for k in given)
