"""How good embeddings are at retrieval: exact metrics, neighbour lists and the raw-pixel floor."""

from .metrics import per_query_metrics, retrieval_metrics
from .neighbours import nearest_neighbours
from .pixels import pixel_embeddings
from .ranks import positive_ranks

__all__ = [
    "nearest_neighbours",
    "per_query_metrics",
    "pixel_embeddings",
    "positive_ranks",
    "retrieval_metrics",
]
