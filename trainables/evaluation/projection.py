"""A map of embeddings: the plane in which they differ most."""

import numpy as np
from numpy.typing import NDArray

from .embeddings import Embeddings, unit_rows


def principal_plane(embeddings: Embeddings) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """(N, D) -> places (N, 2) on the first two principal components of the unit rows, and each one's share of variance.

    Of either direction of an axis the one in which its largest part is positive. What has no second (or first)
    direction has zeros there. UserError as `unit_rows` has.
    """
    rows = unit_rows(embeddings).double().cpu().numpy()
    rows -= rows.mean(0)
    variances, axes = np.linalg.eigh(rows.T @ rows)  # ascending
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    shares = np.clip(variances[::-1][:2], 0, None) / max(variances.sum(), 1e-12)
    places, parts = np.zeros((len(rows), 2)), [0.0, 0.0]
    places[:, : axes.shape[1]] = rows @ axes
    parts[: len(shares)] = map(float, shares)
    return places, (parts[0], parts[1])
