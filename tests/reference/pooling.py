"""Pooling the slow way: one image and one channel at a time, in float64."""

import torch
from torch import Tensor


def generalised_mean(features: Tensor, p: float) -> Tensor:
    """(B, C, N) -> (B, C): Radenovic et al. 2018, equation 3, term by term."""
    pooled = torch.zeros(features.shape[:2], dtype=torch.float64)
    for image in range(features.shape[0]):
        for channel in range(features.shape[1]):
            values = [max(float(value), 1e-6) for value in features[image, channel]]
            pooled[image, channel] = (sum(value**p for value in values) / len(values)) ** (1 / p)
    return pooled
