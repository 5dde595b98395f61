"""Heads: pooled features -> the embedding, before it is normalised."""

import itertools
from collections.abc import Callable, Sequence

from torch import nn

HEAD_NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "bn": nn.BatchNorm1d,
    "ln": nn.LayerNorm,
}


def head(width: int, embed_dim: int | Sequence[int], norm: str = "none") -> nn.Module:
    """(B, width) -> (B, embed_dim): linear, or for a list of widths an MLP with `norm` and ReLU between its layers."""
    if isinstance(embed_dim, int):
        return nn.Linear(width, embed_dim)
    normalise = HEAD_NORMS[norm]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((width, *embed_dim)):
        if layers:
            layers += [*([normalise(before)] if normalise is not None else []), nn.ReLU(inplace=True)]
        layers.append(nn.Linear(before, after))
    return nn.Sequential(*layers)
