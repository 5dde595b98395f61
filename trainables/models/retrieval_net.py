"""The network of a retrieval training: backbone with its pooling, LayerNorm, head, L2 normalisation."""

import inspect
from typing import Any, Self

from torch import Tensor, nn
from torch.nn import functional

from trainables.models import backbones
from trainables.models.heads import head
from trainables.models.settings import NetSettings


class RetrievalNet(nn.Module):
    """(B, 3, H, W) images -> (B, embed_dim) embeddings of length 1, float32 whatever the precision inside.

    RetrievalNet("resnet50", embed_dim=512, pooling="max"): the arguments are those of `NetSettings`.
    """

    Settings = NetSettings
    __signature__ = inspect.signature(NetSettings)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        settings = NetSettings(*args, **kwargs)
        file = settings.weights_file()
        name, size = settings.backbone_name, settings.img_size
        backbone = backbones.build(name, settings.pooling, size, settings.pretrained and file is None)
        if file is not None:
            backbones.load(backbone, name, file, size)
        self.with_autocast = settings.with_autocast
        self.freeze_batch_norm = settings.freeze_batch_norm
        self.backbone = backbone.module
        self.norm = nn.LayerNorm(backbone.width, elementwise_affine=False) if settings.norm_features else nn.Identity()
        self.fc: nn.Module = nn.Identity()
        self.embed_dim = backbone.width
        if not settings.without_fc:
            self.fc = head(backbone.width, settings.embed_dim, settings.projection_normalization_layer)
            self.embed_dim = settings.embed_dim if isinstance(settings.embed_dim, int) else settings.embed_dim[-1]
        if settings.freeze_pos_embedding:
            positions = self.backbone.pos_embed
            assert isinstance(positions, nn.Parameter)
            positions.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.backbone(images))
        return functional.normalize(self.fc(features).float(), dim=-1)

    def train(self, mode: bool = True) -> Self:
        """As of any module, but a frozen batch norm of the backbone stays in evaluation."""
        super().train(mode)
        if mode and self.freeze_batch_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self
