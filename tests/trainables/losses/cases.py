"""Batches and memories for the tests: random, seeded, float64."""

import torch
from torch import Tensor
from torch.nn import functional


def unit(n: int, seed: int, dim: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    """(n, dim) of length 1, with similarities all over [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=1).to(dtype)


def planar(*degrees: float) -> Tensor:
    """(n, 2): unit vectors at these angles; similarity = cos of the difference."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], 1)


LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 0, 2, 4, 0])
"""Classes of 5, 3, 2, 1 and 1: uneven, two of them alone in the batch."""
MEMORY = torch.tensor([1, 0, 7, 0, 2, 1, 1, 8, 0, 2, 2, 7])
"""As long as the batch; without classes 3 and 4, so two queries have no positive in it."""


def gradient(value: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(value, at, retain_graph=True)[0]


def close(found: Tensor, expected: Tensor, rel: float = 1e-10) -> bool:
    return float((found - expected).norm()) <= rel * max(1e-12, float(expected.norm())) + 1e-14
