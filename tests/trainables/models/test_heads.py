"""Heads: linear, an MLP, none."""

import pytest
import torch
from torch import nn

from trainables.models import RetrievalNet
from trainables.models.heads import head


def test_a_number_is_a_linear_head() -> None:
    built = head(7, 5)
    assert isinstance(built, nn.Linear) and built.weight.shape == (5, 7)


@pytest.mark.parametrize(("norm", "between"), [("none", []), ("bn", [nn.BatchNorm1d]), ("ln", [nn.LayerNorm])])
def test_a_list_is_an_mlp_with_the_norm_between_its_layers(norm: str, between: list[type[nn.Module]]) -> None:
    built = head(7, [6, 5, 4], norm)
    assert isinstance(built, nn.Sequential)
    hidden = [*between, nn.ReLU]
    assert [type(layer) for layer in built] == [nn.Linear, *hidden, nn.Linear, *hidden, nn.Linear]
    assert built(torch.rand(3, 7)).shape == (3, 4)


@pytest.mark.parametrize("norm", ["none", "bn", "ln"])
def test_an_mlp_in_the_network(norm: str) -> None:
    net = RetrievalNet("conv4", embed_dim=[32, 16], projection_normalization_layer=norm)
    assert net.embed_dim == 16
    embeddings = net(torch.rand(4, 3, 32, 32))
    assert embeddings.shape == (4, 16) and torch.allclose(embeddings.norm(dim=1), torch.ones(4), atol=1e-5)
    embeddings.sum().backward()
    assert all(parameter.grad is not None for parameter in net.fc.parameters())
