"""Who is whose positive: the part that all ranking losses share."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Relevance:
    """Scores of queries against references, and which references are the query's.

    scores (Q, M) float32 or float64; positive (Q, M) bool: with the batch as its own references the query is one of
    its positives, as in the paper.
    """

    scores: Tensor
    positive: Tensor


def relevance(embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None, ref_labels: Tensor | None) -> Relevance:
    """Cosine similarities in at least float32, also under autocast; embeddings (B, D) and ref_emb (M, D) of length 1."""
    _check(embeddings, labels, "embeddings", "labels")
    if (ref_emb is None) != (ref_labels is None):
        raise TypeError("ref_emb and ref_labels go together")
    if ref_emb is None or ref_labels is None:
        ref_emb, ref_labels = embeddings, labels
    else:
        _check(ref_emb, ref_labels, "ref_emb", "ref_labels")
    wide = torch.promote_types(embeddings.dtype, torch.float32)
    with torch.autocast(embeddings.device.type, enabled=False):
        scores = embeddings.to(wide) @ ref_emb.to(wide).T
    return Relevance(scores, labels[:, None] == ref_labels[None, :])


def _check(embeddings: Tensor, labels: Tensor, first: str, second: str) -> None:
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise TypeError(
            f"{first} must be (n, D) and {second} (n,), not {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )


def padded_positives(positive: Tensor) -> tuple[Tensor, Tensor]:
    """(Q, P) indices of each query's positives, padded with 0, and (Q, P) bool: which of them are real."""
    counts = positive.sum(1)
    most = int(counts.max()) if len(counts) else 0
    valid = torch.arange(most, device=positive.device)[None, :] < counts[:, None]
    indices = torch.zeros(valid.shape, dtype=torch.long, device=positive.device)
    indices[valid] = positive.nonzero()[:, 1]
    return indices, valid
