"""Pooling: maps and tokens, against the definition and against what torch and timm pool themselves."""

import pytest
import timm
import torch
from torch import nn

from tests.reference.pooling import generalised_mean
from trainables.errors import UserError
from trainables.models import RetrievalNet
from trainables.models.pooling import GeM, TokenPooling

VIT = "vit_tiny_patch16_224"


def test_the_generalised_mean_is_its_definition() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 5)
    gem = GeM()
    for p in (1.0, 3.0, 4.5):
        gem.p.data.fill_(p)
        assert torch.allclose(gem(features).double(), generalised_mean(features.flatten(2), p), rtol=1e-4)


def test_the_generalised_mean_by_hand() -> None:
    # ((1 + 8 + 27 + 0) / 4)^(1/3)
    values = torch.tensor([[[[1.0, 2.0], [3.0, -7.0]]]])
    assert GeM()(values).item() == pytest.approx(9.0 ** (1 / 3), rel=1e-6)


def test_the_generalised_mean_lies_between_average_and_maximum() -> None:
    features = torch.rand(2, 3, 4, 4) + 0.1
    gem = GeM()
    gem.p.data.fill_(1.0)
    assert torch.allclose(gem(features), features.mean((2, 3)), atol=1e-6)
    gem.p.data.fill_(200.0)
    assert torch.allclose(gem(features), features.amax((2, 3)), rtol=0.02)


def test_the_exponent_is_learned_and_half_precision_does_not_underflow() -> None:
    gem = GeM()
    pooled = gem(torch.full((1, 2, 3, 3), 1e-3, dtype=torch.float16))
    assert pooled.dtype == torch.float32 and torch.allclose(pooled, torch.full((1, 2), 1e-3), rtol=1e-3)
    gem(torch.rand(1, 2, 3, 3)).sum().backward()
    assert gem.p.grad is not None and torch.isfinite(gem.p.grad) and gem.p.grad != 0


@pytest.mark.parametrize("backbone", ["conv4", "resnet18", "resnet10t", "mobilenetv3_small_050", "test_convnext"])
def test_every_map_can_be_pooled_by_the_generalised_mean(backbone: str) -> None:
    net = RetrievalNet(backbone, pooling="gem", embed_dim=8)
    names = [name for name, _ in net.backbone.named_parameters() if name.split(".")[-1] == "p"]
    assert len(names) == 1, "the optimizer of the backbone trains the exponent"
    net(torch.rand(2, 3, 64, 64)).sum().backward()
    exponent = net.backbone.get_parameter(names[0])
    assert exponent.grad is not None and exponent.grad != 0


def test_channels_last_maps_are_pooled_over_their_pixels() -> None:
    net = RetrievalNet("swin_tiny_patch4_window7_224", pooling="gem", without_fc=True).eval()
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        inner = net.backbone.forward_features(images)  # type: ignore[operator]
        pooled = generalised_mean(inner.flatten(1, 2).transpose(1, 2), 3.0)
        assert torch.allclose(net(images), nn.functional.normalize(pooled.float(), dim=1), atol=1e-5)


@pytest.mark.parametrize("pooling", ["avg", "max", "gem"])
def test_a_transformer_pools_its_patches_without_the_class_token(pooling: str) -> None:
    torch.manual_seed(0)
    net = RetrievalNet(VIT, pooling=pooling, without_fc=True).eval()
    plain = timm.create_model(VIT, num_classes=0).eval()
    extra = {f"head.{name}": value for name, value in net.backbone.head.state_dict().items()}  # type: ignore[union-attr,operator]
    net.backbone.load_state_dict({**plain.state_dict(), **extra})
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        patches = plain.forward_features(images)[:, 1:]
        expected = {
            "avg": patches.mean(1),
            "max": patches.amax(1),
            "gem": generalised_mean(patches.transpose(1, 2), 3.0).float(),
        }[pooling]
        assert torch.allclose(net(images), nn.functional.normalize(expected, dim=1), atol=1e-5)


def test_a_transformers_default_is_its_class_token() -> None:
    net = RetrievalNet(VIT, without_fc=True).eval()
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        token = net.backbone.forward_features(images)[:, 0]  # type: ignore[operator]
        assert torch.allclose(net(images), nn.functional.normalize(token, dim=1), atol=1e-6)


def test_registers_are_no_patches() -> None:
    tokens = torch.tensor([[[9.0], [9.0], [1.0], [3.0]]])
    assert TokenPooling("avg", prefix=2)(tokens).item() == 2.0


@pytest.mark.parametrize("backbone", ["pit_xs_224", "deit_tiny_distilled_patch16_224"])
def test_a_pooling_that_a_network_does_not_have_is_refused(backbone: str) -> None:
    for pooling in ("avg", "gem"):
        with pytest.raises(UserError) as caught:
            RetrievalNet.Settings(backbone, pooling=pooling)
        assert repr(backbone) in str(caught.value) and "\n" not in str(caught.value)
