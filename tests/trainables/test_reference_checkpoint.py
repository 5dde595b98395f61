"""Checkpoints in the reference's layout, its configuration and generator states pickled beside the weights."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from omegaconf import OmegaConf
from torch import Tensor, nn

from trainables.errors import UserError
from trainables.models import RetrievalNet
from trainables.reference_checkpoint import read_reference


class Reference(nn.Module):
    """The reference's network: parts named as there, the ResNet without its last two children."""

    def __init__(self, backbone: nn.Module, pooling: nn.Module, width: int, fc: nn.Module, norm: bool) -> None:
        super().__init__()
        self.backbone, self.pooling, self.fc = backbone, pooling, fc
        self.standardize = nn.LayerNorm(width, elementwise_affine=False) if norm else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.pooling(self.backbone(images)).flatten(1)
        return nn.functional.normalize(self.fc(self.standardize(pooled)), dim=1)


def resnet(fc: nn.Module, pooling: nn.Module, norm: bool = False) -> Reference:
    torch.manual_seed(0)
    children = list(torchvision.models.resnet18().children())[:-2]
    net = Reference(nn.Sequential(*children), pooling, 512, fc, norm)
    # running statistics and counters that are not those of a new network
    net.train()(torch.rand(4, 3, 32, 32))
    return net


def write(path: Path, net: nn.Module, **changed: Any) -> Path:
    """All that the reference writes beside the weights."""
    kwargs = {"backbone_name": "resnet18", "embed_dim": 512}
    config = {"model": {"name": "RetrievalNet", "kwargs": kwargs}, "loss": [{"name": "SupAP"}], "same": "${model.name}"}
    state = {
        "net_state": net.state_dict(),
        "optimizer_state": {"backbone": torch.optim.Adam(net.parameters()).state_dict()},
        "scheduler_on_epoch_state": [{"milestones": {30: 1, 70: 1}}],
        "scaler_state": {"scale": 65536.0},
        "epoch": 12,
        "seed": 333,
        "config": OmegaConf.create(config),
        "score": np.float64(0.5),
        "best_score": 0.5,
        "best_model": "epoch_10.ckpt",
        "RANDOM_STATE": random.getstate(),
        "NP_STATE": np.random.get_state(),
        "TORCH_STATE": torch.get_rng_state(),
        "TORCH_CUDA_STATE": [],
    }
    torch.save({**state, **changed}, path)
    return path


@pytest.mark.parametrize(
    ("fc", "pooling", "kwargs"),
    [
        (nn.Linear(512, 16), nn.AdaptiveAvgPool2d(1), {"embed_dim": 16}),
        (nn.Linear(512, 16), nn.AdaptiveMaxPool2d(1), {"embed_dim": 16, "pooling": "max", "norm_features": True}),
        (nn.Identity(), nn.AdaptiveAvgPool2d(1), {"without_fc": True}),
        (
            nn.Sequential(nn.Linear(512, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16)),
            nn.AdaptiveAvgPool2d(1),
            {"embed_dim": [32, 16], "projection_normalization_layer": "bn"},
        ),
    ],
)
def test_a_resnet_gives_the_references_embeddings(
    fc: nn.Module, pooling: nn.Module, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    reference = resnet(fc, pooling, norm=kwargs.get("norm_features", False))
    net = RetrievalNet("resnet18", **kwargs)
    read_reference(write(tmp_path / "rolling.ckpt", reference), net)
    images = torch.rand(3, 3, 64, 64)
    assert torch.allclose(net.eval()(images), reference.eval()(images), atol=1e-6)
    counters = [value for key, value in net.state_dict().items() if key.endswith("num_batches_tracked")]
    assert counters and all(counter == 1 for counter in counters)


def test_a_transformer_keeps_timms_names(tmp_path: Path) -> None:
    backbone = timm.create_model("deit_small_patch16_224", num_classes=0)
    reference = Reference(backbone, nn.Identity(), 384, nn.Identity(), norm=False)
    net = RetrievalNet("vit_deit_distilled", without_fc=True)
    read_reference(write(tmp_path / "rolling.ckpt", reference), net)
    images = torch.rand(1, 3, 224, 224)
    assert torch.allclose(net.eval()(images), reference.eval()(images), atol=1e-6)


def test_names_of_a_parallel_network(tmp_path: Path) -> None:
    reference = resnet(nn.Linear(512, 16), nn.AdaptiveAvgPool2d(1))
    state = {f"module.{key}": value for key, value in reference.state_dict().items()}
    net = RetrievalNet("resnet18", embed_dim=16)
    read_reference(write(tmp_path / "rolling.ckpt", reference, net_state=state), net)
    assert torch.equal(net.backbone.get_parameter("conv1.weight"), reference.state_dict()["backbone.0.weight"])


@pytest.mark.parametrize(
    ("backbone", "kwargs", "said"),
    [
        ("resnet18", {"embed_dim": 8}, "fc.weight is (16, 512), not (8, 512)"),
        ("resnet18", {"without_fc": True}, "2 weights unknown (fc.weight, fc.bias)"),
        ("resnet18", {"embed_dim": 16, "pooling": "gem"}, "1 weights missing (backbone.avgpool.p)"),
        ("resnet50", {"embed_dim": 16}, "weights missing"),
        ("conv4", {"embed_dim": 16}, "weights missing"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    backbone: str, kwargs: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "rolling.ckpt", resnet(nn.Linear(512, 16), nn.AdaptiveAvgPool2d(1)))
    with pytest.raises(UserError) as caught:
        read_reference(path, RetrievalNet(backbone, **kwargs))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    net = RetrievalNet("conv4")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    torch.save({"model": {}}, tmp_path / "ours.ckpt")
    torch.save({"net_state": 3}, tmp_path / "number.ckpt")
    for name, said in [
        ("none.ckpt", "there is no checkpoint"),
        ("text.ckpt", "cannot be read as a checkpoint"),
        ("ours.ckpt", "no weights under 'net_state'"),
        ("number.ckpt", "no weights under 'net_state'"),
    ]:
        with pytest.raises(UserError, match=said) as caught:
            read_reference(tmp_path / name, net)
        assert "\n" not in str(caught.value)


class Runs:
    """What a pickle could do: call any function with any argument."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for evil in (Runs(Path.touch, trace), Runs(exec, f"open({str(trace)!r}, 'w')"), Runs(eval, "1")):
        path = write(tmp_path / "evil.ckpt", nn.Linear(1, 1), config=evil)
        with pytest.raises(UserError, match="asks for"):
            read_reference(path, RetrievalNet("conv4"))
    # an allowed package's function is not called either: the placeholder is
    path = write(tmp_path / "numpy.ckpt", RetrievalNet("conv4"), config=Runs(np.save, str(trace), np.zeros(1)))
    read_reference(path, RetrievalNet("conv4"))
    assert not list(tmp_path.glob("trace*"))
