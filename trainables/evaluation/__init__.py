"""How good embeddings are at retrieval: exact metrics, neighbour lists and the raw-pixel floor."""

from .engine import chosen_engine
from .inspection import Inspection, confusions, group_means, hardest, inspected, median, most_confused
from .intervals import bootstrap_intervals, drawn_means
from .landmarks import landmark_metrics, per_query_landmarks
from .metrics import metric_means, metric_names, per_query_metrics, retrieval_metrics
from .neighbours import nearest_neighbours
from .pixels import pixel_embeddings
from .projection import principal_plane
from .ranks import positive_ranks

__all__ = [
    "Inspection",
    "bootstrap_intervals",
    "chosen_engine",
    "confusions",
    "drawn_means",
    "group_means",
    "hardest",
    "inspected",
    "landmark_metrics",
    "median",
    "metric_means",
    "metric_names",
    "most_confused",
    "nearest_neighbours",
    "per_query_landmarks",
    "per_query_metrics",
    "pixel_embeddings",
    "positive_ranks",
    "principal_plane",
    "retrieval_metrics",
]
