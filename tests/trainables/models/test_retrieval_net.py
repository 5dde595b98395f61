"""The network: shapes, length of embeddings, what is frozen, weights from files."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from trainables.errors import UserError
from trainables.models import RetrievalNet


@pytest.mark.parametrize("backbone", ["conv4", "resnet10t", "vit_tiny_patch16_224"])
def test_embeddings_have_length_one(backbone: str) -> None:
    net = RetrievalNet(backbone, embed_dim=32).eval()
    size = 224 if "vit" in backbone else 32
    embeddings = net(torch.rand(2, 3, size, size))
    assert embeddings.shape == (2, 32) and embeddings.dtype == torch.float32
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(2), atol=1e-5)


def test_half_precision_inside_float32_outside() -> None:
    net = RetrievalNet("conv4", embed_dim=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = net(torch.rand(4, 3, 32, 32))
    assert embeddings.dtype == torch.float32
    embeddings.sum().backward()


def test_without_a_head_and_with_layer_norm() -> None:
    net = RetrievalNet("conv4", without_fc=True, norm_features=True)
    assert net.embed_dim == 256 and not list(net.fc.parameters()) and not list(net.norm.parameters())
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 256)


@pytest.mark.parametrize("backbone", ["conv4", "resnet10t"])
def test_max_pooling_is_the_maximum_of_the_map(backbone: str) -> None:
    net = RetrievalNet(backbone, pooling="max", without_fc=True).eval()
    images = torch.rand(2, 3, 64, 64)
    inner = net.backbone[0](images) if backbone == "conv4" else net.backbone.forward_features(images)  # type: ignore[index,operator]
    expected = nn.functional.normalize(inner.amax((2, 3)), dim=1)
    assert torch.allclose(net(images), expected, atol=1e-5)


def test_frozen_batch_norm_keeps_its_statistics() -> None:
    net = RetrievalNet("conv4")
    images = torch.rand(8, 3, 32, 32)
    for frozen in (True, False):
        net.freeze_batch_norm = frozen
        before = {name: value.clone() for name, value in net.named_buffers()}
        net.train()(images)
        same = all(torch.equal(value, before[name]) for name, value in net.named_buffers())
        assert same == frozen
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_weights_from_a_local_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("resnet10t", num_classes=7)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    for file in ("w.pth", "w.safetensors"):
        net = RetrievalNet("resnet10t", pretrained=True, weights=str(tmp_path / file))
        loaded = net.backbone.state_dict()
        assert all(torch.equal(value, whole.state_dict()[key]) for key, value in loaded.items())
    with pytest.raises(UserError, match="does not fit the backbone"):
        RetrievalNet("resnet14t", weights=str(tmp_path / "w.pth"))


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="cannot be read"):
        RetrievalNet("resnet10t", weights=str(tmp_path / "evil.pth"))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code from a file ran",))
