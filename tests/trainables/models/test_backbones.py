"""Backbones: what each name means, the weights that are asked for, and what a hub that is away looks like."""

from collections.abc import Callable
from typing import Any
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from timm.models.deit import VisionTransformerDistilled
from torchvision.models import ResNet, ResNet50_Weights

from trainables.errors import UserError
from trainables.models import RetrievalNet, backbones


@pytest.mark.parametrize(
    ("name", "width", "depth", "size", "parameters"),
    [
        ("resnet18", 512, 8, 224, 11.2),
        ("resnet50", 2048, 16, 224, 23.5),
        ("resnet101", 2048, 33, 224, 42.5),
        ("vit", 384, 12, 224, 21.7),
        ("vit_deit", 384, 12, 224, 21.7),
        ("vit_deit_distilled", 384, 12, 224, 21.7),
        ("vit_deit_base", 768, 12, 224, 85.8),
        ("vit_deit_base_distilled", 768, 12, 224, 85.8),
        ("vit_deit_base_384", 768, 12, 384, 86.1),
        ("vit_deit_base_384_distilled", 768, 12, 384, 86.1),
    ],
)
def test_the_names_of_the_reference(name: str, width: int, depth: int, size: int, parameters: float) -> None:
    # on the meta device: shapes without memory
    with torch.device("meta"):
        backbone = backbones.build(name, "default")
        assert backbone.module.eval()(torch.zeros(2, 3, size, size)).shape == (2, width)
    assert backbone.width == width
    blocks = [key for key, _ in backbone.module.named_parameters() if key.endswith(("conv1.weight", "attn.qkv.weight"))]
    assert len(blocks) - (name[:6] == "resnet") == depth
    assert sum(value.numel() for value in backbone.module.parameters()) / 1e6 == pytest.approx(parameters, abs=0.06)
    assert not isinstance(backbone.module, VisionTransformerDistilled)


def test_a_name_of_both_libraries_is_torchvisions_and_timms_has_a_spelling() -> None:
    assert isinstance(RetrievalNet("resnet18").backbone, ResNet)
    assert type(RetrievalNet("timm/resnet18").backbone).__module__ == "timm.models.resnet"
    assert type(RetrievalNet("resnet18.a1_in1k").backbone).__module__ == "timm.models.resnet"
    images = torch.rand(2, 3, 64, 64)
    torchvisions = RetrievalNet("resnet18", pooling="max", without_fc=True).eval()
    timms = RetrievalNet("timm/resnet18", pooling="max", without_fc=True).eval()
    timms.backbone.load_state_dict(torchvisions.backbone.state_dict())
    assert torch.allclose(torchvisions(images), timms(images), atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "test_nfnet"])
@pytest.mark.parametrize("pooling", ["default", "avg", "max", "gem"])
def test_the_width_is_that_of_the_features(name: str, pooling: str) -> None:
    with torch.device("meta"):
        backbone = backbones.build(name, pooling)
        size = backbone.module.pretrained_cfg["input_size"]  # type: ignore[index]
        assert backbone.module.eval()(torch.zeros(2, *size)).shape == (2, backbone.width)


def test_building_draws_nothing_for_the_check_and_touches_no_running_statistics() -> None:
    before = torch.get_rng_state()
    RetrievalNet.Settings("test_efficientnet", pooling="gem")
    assert torch.equal(torch.get_rng_state(), before)
    net = RetrievalNet("timm/resnet10t", pooling="max")
    means = [value for key, value in net.backbone.state_dict().items() if key.endswith("running_mean")]
    assert means and all(not mean.any() for mean in means)


def test_equal_seeds_give_equal_networks() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(RetrievalNet("test_efficientnet", pooling="gem", embed_dim=[8, 4]).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_published_weights_of_the_reference_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real_timm, real_torchvision = timm.create_model, torchvision.models.get_model

    def hub(name: str, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        asked.append((name, pretrained))
        return real_timm(name, pretrained=False, **options)

    def torchvisions(name: str, weights: str | None = None) -> torch.nn.Module:
        asked.append((name, weights))
        return real_torchvision(name, weights=None)

    monkeypatch.setattr(timm, "create_model", hub)
    monkeypatch.setattr(torchvision.models, "get_model", torchvisions)
    backbones.build("resnet50", "avg", pretrained=True)
    backbones.build("vit_deit", "default", pretrained=True)
    with torch.device("meta"):
        backbones.build("vit_deit_base_384_distilled", "default", pretrained=True)
    assert asked == [
        ("resnet50", "IMAGENET1K_V1"),
        ("deit_small_patch16_224", True),
        ("deit_base_patch16_384", False),
        ("deit_base_distilled_patch16_384", True),
    ]
    assert ResNet50_Weights["IMAGENET1K_V1"].url.endswith("resnet50-0676ba61.pth")


def fails(real: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """A builder whose published weights are out of reach."""

    def build(name: str, pretrained: bool = False, weights: str | None = None, **options: Any) -> Any:
        if pretrained or weights is not None:
            raise error
        return real(name, **options)

    return build


@pytest.mark.parametrize("name", ["resnet18", "vit_deit_distilled", "test_vit"])
def test_a_hub_that_is_away_is_one_line_that_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for library, builder, error in (
        (timm, "create_model", OSError("no connection\nmore of it")),
        (torchvision.models, "get_model", URLError("no connection")),
    ):
        monkeypatch.setattr(library, builder, fails(getattr(library, builder), error))
    with pytest.raises(UserError) as caught:
        RetrievalNet(name, pretrained=True)
    text = str(caught.value)
    assert "no connection" in text and "model.kwargs.weights" in text and repr(name) in text and "\n" not in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet5", "unknown backbone 'resnet5', did you mean 'resnet50'"),
        ("vit_diet", "did you mean 'vit_deit'"),
        ("timm/resnt50", "unknown backbone 'timm/resnt50'"),
        ("resnet18.no_such_tag", "resnet18.no_such_tag"),
        (50, "unknown backbone 50"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        RetrievalNet.Settings(name)
    assert said in str(caught.value) and "\n" not in str(caught.value)
