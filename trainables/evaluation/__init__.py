"""How good embeddings are at retrieval: exact metrics, neighbour lists and the raw-pixel floor."""

from .engine import chosen_engine
from .intervals import bootstrap_intervals, drawn_means
from .landmarks import landmark_metrics, per_query_landmarks
from .metrics import metric_means, metric_names, per_query_metrics, retrieval_metrics
from .neighbours import nearest_neighbours
from .pixels import pixel_embeddings
from .ranks import positive_ranks

__all__ = [
    "bootstrap_intervals",
    "chosen_engine",
    "drawn_means",
    "landmark_metrics",
    "metric_means",
    "metric_names",
    "nearest_neighbours",
    "per_query_landmarks",
    "per_query_metrics",
    "pixel_embeddings",
    "positive_ranks",
    "retrieval_metrics",
]
