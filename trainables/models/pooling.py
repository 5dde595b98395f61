"""Pooling: a feature map or a row of tokens -> one vector an image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.errors import UserError

POOLINGS = ("avg", "max", "gem", "default")


class GeM(nn.Module):
    """Generalised mean over `dims`: mean(max(x, 1e-6)^p)^(1/p), p learned from 3 on, float32 whatever goes in.

    p = 1 is the average, p -> infinity the maximum. Radenovic, Tolias, Chum 2018, arXiv 1711.02512, equation 3.
    """

    smallest = 1e-6

    def __init__(self, dims: Sequence[int] = (2, 3), keepdim: bool = False) -> None:
        super().__init__()
        self.dims, self.keepdim = tuple(dims), keepdim
        self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, features: Tensor) -> Tensor:
        # 1e-6 cubed is zero in half precision
        powers = features.float().clamp(min=self.smallest).pow(self.p)
        return powers.mean(self.dims, keepdim=self.keepdim).pow(1.0 / self.p)


class TokenPooling(nn.Module):
    """(B, prefix + N, C) tokens of a transformer -> (B, C): the patches pooled, class token and registers left out."""

    def __init__(self, pooling: str, prefix: int) -> None:
        super().__init__()
        assert pooling in ("avg", "max", "gem")
        self.pooling, self.prefix = pooling, prefix
        self.gem = GeM(dims=(1,)) if pooling == "gem" else None

    def forward(self, tokens: Tensor) -> Tensor:
        patches = tokens[:, self.prefix :]
        if self.gem is not None:
            return self.gem(patches)
        return patches.amax(1) if self.pooling == "max" else patches.mean(1)


def map_pooling(pooling: str) -> nn.Module:
    """(B, C, H, W) -> (B, C, 1, 1); a map's default is its average."""
    if pooling == "gem":
        return GeM(keepdim=True)
    return nn.AdaptiveMaxPool2d(1) if pooling == "max" else nn.AdaptiveAvgPool2d(1)


def put_gem(backbone: nn.Module, name: str) -> None:
    """Sets a GeM in the place of the one global average that a timm network pools with."""
    from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool, SelectAdaptivePool2d

    places = [
        (path, module)
        for path, module in backbone.named_modules()
        if isinstance(module, SelectAdaptivePool2d) and not path.startswith("patch_embed.")
    ]
    if len(places) != 1:
        raise UserError(f"model.kwargs.pooling: backbone {name!r} has no place for 'gem'. Allowed: avg, default, max")
    path, average = places[0]
    parent, _, attribute = path.rpartition(".")
    if isinstance(average.pool, FastAdaptiveAvgPool):
        gem = GeM(average.pool.dim, keepdim=not average.pool.flatten)
    else:
        gem = GeM(keepdim=isinstance(average.flatten, nn.Identity))
    setattr(backbone.get_submodule(parent), attribute, gem)


def pooling_weights(backbone: nn.Module) -> set[str]:
    """The names of the learned exponents: weights that no file of a backbone has."""
    return {f"{path}.p".lstrip(".") for path, module in backbone.named_modules() if isinstance(module, GeM)}
