"""Raw pixels as embeddings: the floor that any trained model must beat."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from trainables.errors import UserError

SIDE = 16
_IMAGES = 1024


def pixel_embeddings(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """images (N, H, W, 3) uint8 -> (N, 16 * 16 * 3) float32 in [-1, 1]: averages over 16 x 16 areas, less the
    mean over the images. Not normalised. Raises UserError for another shape or type, or no image.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not images.size:
        raise UserError(f"images have shape {images.shape} and type {images.dtype}, need (N, H, W, 3) uint8")
    parts = []
    for start in range(0, len(images), _IMAGES):
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + _IMAGES])).permute(0, 3, 1, 2)
        parts.append(adaptive_avg_pool2d(pixels.float() / 255, SIDE).permute(0, 2, 3, 1).flatten(1).numpy())
    rows = np.concatenate(parts)
    return rows - rows.mean(0, dtype=np.float64).astype(np.float32)
