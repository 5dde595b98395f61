"""The network of a retrieval training: backbone, pooling, optional LayerNorm, head, L2 normalisation."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.errors import UserError, unknown
from trainables.models.conv4 import Conv4

POOLINGS = ("avg", "max", "default")


class RetrievalNet(nn.Module):
    """(B, 3, H, W) images -> (B, embed_dim) embeddings of length 1, float32 whatever the precision inside.

    backbone_name: "conv4", or any timm model. pooling: "avg", "max" or the backbone's own ("default").
    norm_features: LayerNorm without affine between pooling and head. without_fc: no head, the features themselves.
    pretrained: the weights of the backbone's hub. weights: a local file of backbone weights instead.
    with_autocast: whether the training may run the forward pass in reduced precision.
    """

    freeze_batch_norm = False  # running statistics stay as they are while training

    def __init__(
        self,
        backbone_name: str,
        embed_dim: int = 512,
        pooling: str = "default",
        norm_features: bool = False,
        without_fc: bool = False,
        pretrained: bool = False,
        weights: str | None = None,
        with_autocast: bool = True,
    ) -> None:
        super().__init__()
        self.check(backbone_name, embed_dim, pooling, norm_features, without_fc, pretrained, weights, with_autocast)
        self.with_autocast = with_autocast
        self.backbone, width = _backbone(backbone_name, pooling, pretrained and weights is None)
        if weights is not None:
            _load_weights(self.backbone, Path(weights).expanduser())
        self.norm = nn.LayerNorm(width, elementwise_affine=False) if norm_features else nn.Identity()
        self.fc = nn.Identity() if without_fc else nn.Linear(width, embed_dim)
        self.embed_dim = width if without_fc else embed_dim

    @staticmethod
    def check(
        backbone_name: str,
        embed_dim: int = 512,
        pooling: str = "default",
        norm_features: bool = False,
        without_fc: bool = False,
        pretrained: bool = False,
        weights: str | None = None,
        with_autocast: bool = True,
    ) -> None:
        """UserError for settings that cannot be built; builds nothing."""
        for name, flag in {
            "norm_features": norm_features,
            "without_fc": without_fc,
            "pretrained": pretrained,
            "with_autocast": with_autocast,
        }.items():
            if not isinstance(flag, bool):
                raise UserError(f"model.kwargs.{name} must be true or false, not {flag!r}")
        if isinstance(embed_dim, bool) or not isinstance(embed_dim, int) or embed_dim < 1:
            raise UserError(f"model.kwargs.embed_dim must be a positive number of dimensions, not {embed_dim!r}")
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        if weights is not None and not Path(weights).expanduser().is_file():
            raise UserError(f"model.kwargs.weights: there is no file {weights!r}")
        if backbone_name == "conv4":
            if pretrained and weights is None:
                raise UserError("model.kwargs.pretrained: conv4 has no published weights; it trains from scratch")
            return
        import timm

        if not isinstance(backbone_name, str) or not timm.is_model(backbone_name):
            raise _unknown_backbone(backbone_name, timm.list_models())

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.backbone(images))
        return functional.normalize(self.fc(features).float(), dim=-1)

    def train(self, mode: bool = True) -> "RetrievalNet":
        super().train(mode)
        if mode and self.freeze_batch_norm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def _unknown_backbone(name: object, known: list[str]) -> UserError:
    error = unknown("backbone", name, ["conv4", *known])
    # a thousand names help nobody: keep the nearest
    return UserError(str(error).partition(" Known: ")[0] + " Known: conv4 and every model of timm.list_models()")


def _backbone(name: str, pooling: str, pretrained: bool) -> tuple[nn.Module, int]:
    """The pooled feature extractor (B, 3, H, W) -> (B, width), and its width."""
    if name == "conv4":
        pool = nn.AdaptiveMaxPool2d(1) if pooling == "max" else nn.AdaptiveAvgPool2d(1)
        return nn.Sequential(Conv4(), pool, nn.Flatten(1)), Conv4.num_features
    import timm

    own: dict[str, Any] = {} if pooling == "default" else {"global_pool": pooling}
    try:
        backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, **own)
    except (OSError, RuntimeError, ValueError) as error:
        told = str(error).splitlines()[0]
        where = "; model.kwargs.weights takes a local file instead" if pretrained else ""
        raise UserError(f"backbone {name!r} cannot be built: {told}{where}") from error
    width = backbone(torch.zeros(1, 3, *_input_size(backbone))).shape[-1] if own else backbone.num_features
    return backbone, int(width)  # type: ignore[arg-type]


def _input_size(backbone: nn.Module) -> tuple[int, int]:
    height, width = backbone.pretrained_cfg["input_size"][-2:]  # type: ignore[index]
    return int(height), int(width)


def _load_weights(backbone: nn.Module, file: Path) -> None:
    """A state dict of the backbone alone; classifier weights in the file are left out, anything else must fit."""
    state = _read_weights(file)
    own = backbone.state_dict()
    extra = [key for key in state if key not in own and key.split(".")[0] not in ("fc", "classifier", "head")]
    missing = [key for key in own if key not in state]
    if extra or missing:
        raise UserError(f"{file} does not fit the backbone: {len(missing)} weights missing, {len(extra)} unknown")
    wrong = [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise UserError(f"{file}: {wrong[0]} is {tuple(state[wrong[0]].shape)}, not {tuple(own[wrong[0]].shape)}")
    backbone.load_state_dict({key: state[key] for key in own})


def _read_weights(file: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from .safetensors or a torch file; nothing in the file is ever run."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        read = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{file} cannot be read as weights: {str(error).splitlines()[0]}") from error
    found: dict[str, torch.Tensor] = read.get("state_dict", read)
    return found
