"""Nearest-neighbour lists by faiss: retrieval panels and exported indexes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.errors import UserError

from .embeddings import Embeddings, unit_rows
from .engine import neighbour_gpus


def nearest_neighbours(
    query: Embeddings, gallery: Embeddings | None = None, k: int = 10
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k most similar gallery rows of every query: cosines (N, k), falling, and row numbers (N, k).

    query (N, D), gallery (M, D). Without a gallery the queries are searched and each is left out by its
    index, so its duplicates stay. Where there are fewer than k others, the rest holds -inf and -1. Searched
    where `chosen_engine` says: GPUs that faiss has, a large gallery split over all of them, or the CPU (also where a
    GPU cannot: above 2048 neighbours, the query counted). Raises UserError for bad embeddings or k < 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise UserError(f"k={k!r}: the number of neighbours must be a whole number from 1")
    rows = unit_rows(query, "query").cpu().numpy()
    others = rows if gallery is None else unit_rows(gallery, "gallery").cpu().numpy()
    if rows.shape[1] != others.shape[1]:
        raise UserError(f"query embeddings have {rows.shape[1]} dimensions, gallery embeddings {others.shape[1]}")
    found = min(k + (gallery is None), len(others))
    scores, indices = _index(others, len(rows), found).search(rows, found)
    if gallery is None:
        scores, indices = _without_self(scores, indices)
    missing = ((0, 0), (0, k - scores.shape[1]))
    return np.pad(scores, missing, constant_values=-np.inf), np.pad(indices, missing, constant_values=-1)


def _index(rows: NDArray[np.float32], queries: int, found: int) -> Any:
    import faiss

    index: Any = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)  # before a split: a clone takes its share of the rows along
    gpus = neighbour_gpus(queries, len(rows), rows.shape[1], found)
    if gpus == 1:
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    if gpus > 1:
        options = faiss.GpuMultipleClonerOptions()
        options.shard = True
        return faiss.index_cpu_to_all_gpus(index, co=options)
    return index


def _without_self(
    scores: NDArray[np.float32], indices: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, k + 1) -> (N, k): row i loses the index i, or its last entry where duplicates pushed i out."""
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return scores[~own].reshape(shape), indices[~own].reshape(shape)
