"""Backbones by name: images (B, 3, H, W) -> pooled features (B, width), without a classifier.

The names of the ROADMAP reference mean what they mean there:
    resnet18, resnet50, resnet101
        torchvision's; published weights: IMAGENET1K_V1
    vit, vit_deit, vit_deit_base, vit_deit_base_384
        timm's ViT-S, DeiT-S and DeiT-B at 224 and DeiT-B at 384 pixels; published weights: timm's. The reference's
        timm still had a ViT-S of 768 dimensions and 8 blocks; today's has 384 and 12
    vit_deit_distilled, vit_deit_base_distilled, vit_deit_base_384_distilled
        the same plain DeiT; published weights: the distilled ones less their extra token
conv4 is the project's own. Any other name is a timm model; timm/NAME is timm's where the reference has the name
too (timm/resnet50).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables.errors import UserError, unknown
from trainables.models import lite0, weights
from trainables.models.conv4 import Conv4
from trainables.models.pooling import TokenPooling, map_pooling, pooling_weights, put_gem

RESNETS = ("resnet18", "resnet50", "resnet101")
# pretrained=True of the torchvision that the reference ran with
RESNET_WEIGHTS = "IMAGENET1K_V1"
TRANSFORMERS = {
    "vit": "vit_small_patch16_224",
    "vit_deit": "deit_small_patch16_224",
    "vit_deit_distilled": "deit_small_patch16_224",
    "vit_deit_base": "deit_base_patch16_224",
    "vit_deit_base_distilled": "deit_base_patch16_224",
    "vit_deit_base_384": "deit_base_patch16_384",
    "vit_deit_base_384_distilled": "deit_base_patch16_384",
}
# where the weights of a plain transformer come from, if not from itself
DISTILLED = {
    "vit_deit_distilled": "deit_small_distilled_patch16_224",
    "vit_deit_base_distilled": "deit_base_distilled_patch16_224",
    "vit_deit_base_384_distilled": "deit_base_distilled_patch16_384",
}
TIMM = "timm/"
PYPI = "pypi"
OFFLINE = "model.kwargs.weights takes a local file or folder instead"


@dataclass(frozen=True)
class Backbone:
    """module: (B, 3, H, W) -> (B, width). classifier: the layers of its published weights that it leaves out."""

    module: nn.Module
    width: int
    classifier: tuple[str, ...]


def check_name(name: object) -> None:
    """UserError for a name that means no backbone."""
    known = ["conv4", *RESNETS, *TRANSFORMERS]
    if name in known:
        return
    import timm

    if not isinstance(name, str) or not timm.is_model(name.removeprefix(TIMM)):
        error = unknown("backbone", name, [*known, *timm.list_models()])
        # a thousand names help nobody: keep the nearest
        told = str(error).partition(" Known: ")[0]
        raise UserError(f"{told} Known: {', '.join(known)} and every model of timm.list_models()")


def timm_name(name: str) -> str | None:
    """What timm calls the network of this name; None where it is not timm's."""
    return None if name == "conv4" or name in RESNETS else TRANSFORMERS.get(name, name.removeprefix(TIMM))


def has_published_weights(name: str) -> bool:
    timms = DISTILLED.get(name, timm_name(name))
    if timms is None:
        return name in RESNETS
    import timm

    cfg = timm.get_pretrained_cfg(timms, allow_unregistered=False)
    return cfg is not None and cfg.has_weights


def weights_file(name: str, path: str) -> Path:
    """The file that model.kwargs.weights means for this backbone; UserError where there is none."""
    if path == PYPI:
        if timm_name(name) != lite0.BACKBONE:
            raise UserError(f"model.kwargs.weights=pypi has the weights of {lite0.BACKBONE} alone, not of {name!r}")
        return lite0.package_file()
    names = [name, DISTILLED.get(name, timm_name(name) or name)]
    return weights.find(Path(path).expanduser(), list(dict.fromkeys(names)))


def build(name: str, pooling: str, img_size: int | None = None, pretrained: bool = False) -> Backbone:
    """The backbone with its pooling, `pretrained` with the published weights. UserError for what it cannot be.

    img_size: pixels that a transformer is built for; its position embeddings are interpolated. None: its own size.
    """
    timms = timm_name(name)
    if timms is not None:
        return _from_timm(name, timms, pooling, img_size, pretrained)
    if img_size is not None:
        raise UserError(f"model.kwargs.img_size: backbone {name!r} takes images of any size; leave it null")
    if name == "conv4":
        return Backbone(nn.Sequential(Conv4(), map_pooling(pooling), nn.Flatten(1)), Conv4.num_features, ())
    from torchvision.models import ResNet, get_model

    try:
        resnet = get_model(name, weights=RESNET_WEIGHTS if pretrained else None)
    except (OSError, RuntimeError) as error:
        raise _unreachable(name, error) from error
    assert isinstance(resnet, ResNet)
    width = resnet.fc.in_features
    resnet.avgpool, resnet.fc = map_pooling(pooling), nn.Identity()
    return Backbone(resnet, width, ("fc",))


@lru_cache(maxsize=256)
def learns_positions(name: str, pooling: str, img_size: int | None) -> bool:
    """Whether the backbone has a position embedding. Builds it without memory: UserError for what cannot be built."""
    with torch.device("meta"):
        backbone = build(name, pooling, img_size)
    return isinstance(getattr(backbone.module, "pos_embed", None), nn.Parameter)


def load(backbone: Backbone, name: str, file: Path, img_size: int | None = None) -> None:
    """Fills the backbone from a file of its weights; a classifier in the file is left out, all else must fit."""
    state = weights.read(file)
    if timm_name(name) == lite0.BACKBONE and lite0.is_packaged(state):
        stages = backbone.module.blocks
        assert isinstance(stages, nn.Sequential)
        state = lite0.renamed(state, [len(stage) for stage in stages])  # type: ignore[arg-type]
    _fit(backbone, name, state, str(file), img_size)


def _fit(backbone: Backbone, name: str, state: dict[str, Tensor], source: str, img_size: int | None) -> None:
    if name in DISTILLED:
        state = weights.without_distillation(state, source)
    state = weights.without_layers(state, backbone.classifier)
    if img_size is not None:
        state = weights.with_resized_positions(state, backbone.module)
    weights.fit(backbone.module, state, source, f"the backbone {name!r}", pooling_weights(backbone.module))


def _from_timm(name: str, timms: str, pooling: str, img_size: int | None, pretrained: bool) -> Backbone:
    options: dict[str, Any] = {} if img_size is None else {"img_size": img_size}
    tokens = pooling != "default" and _is_transformer(timms)
    if pooling != "default":
        # the transformers' own average would move their last norm behind the pooling, away from its weights
        options["global_pool"] = "" if tokens else "avg" if pooling == "gem" else pooling
    module = _create(name, timms, pretrained and name not in DISTILLED, **options)
    if tokens:
        # where the classifier was
        module.head = TokenPooling(pooling, module.num_prefix_tokens)  # type: ignore[arg-type]
    elif pooling == "gem":
        put_gem(module, name)
    classifier = module.pretrained_cfg["classifier"]  # type: ignore[index]
    layers = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    backbone = Backbone(module, int(module.head_hidden_size), layers)  # type: ignore[arg-type]
    if pretrained and name in DISTILLED:
        distilled = _create(name, DISTILLED[name], True)
        _fit(backbone, name, distilled.state_dict(), f"timm's {DISTILLED[name]}", img_size)
    return backbone


def _create(name: str, timms: str, pretrained: bool, **options: Any) -> nn.Module:
    import timm

    try:
        return timm.create_model(timms, pretrained=pretrained, num_classes=0, **options)
    except (AssertionError, OSError, RuntimeError, TypeError, ValueError) as error:
        if pretrained:
            raise _unreachable(name, error) from error
        asked = "".join(f" with {key}={value!r}" for key, value in options.items())
        raise UserError(f"backbone {name!r} cannot be built{asked}: {weights.first_line(error)}") from error


@lru_cache(maxsize=256)
def _is_transformer(timms: str) -> bool:
    """Whether it is timm's plain vision transformer, whose tokens can be pooled from outside."""
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    with torch.device("meta"):
        module = _create(timms, timms, False)
    return isinstance(module, VisionTransformer) and not isinstance(module, VisionTransformerDistilled)


def _unreachable(name: str, error: Exception) -> UserError:
    told = weights.first_line(error)
    return UserError(f"the published weights of backbone {name!r} cannot be had: {told}; {OFFLINE}")
