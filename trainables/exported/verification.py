"""Whether an export gives what the network gave: on real pictures, embedding by embedding."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from trainables.data import BatchTransform, FileImages, LabelledImages
from trainables.errors import UserError
from trainables.exported.model import ExportedModel
from trainables.models import RetrievalNet

IMAGES = 32
LIMIT = 1e-4  # of any number of an embedding, torch to ONNX Runtime on the same pixels
ALIKE = 0.99  # cosine at least, where PIL has read and resized the picture instead of torchvision


@dataclass(frozen=True)
class Verified:
    """difference: the largest between two numbers. cosine: the smallest, of pictures opened as a user opens them."""

    images: int
    difference: float
    cosine: float

    def sentence(self) -> str:
        return (
            f"model.onnx against the network: largest difference {self.difference:.1e} over {self.images} images "
            f"(allowed {LIMIT:.0e}); the same images read by PIL alone: cosine {self.cosine:.6f} at least"
        )


def verify(net: RetrievalNet, transform: BatchTransform, model: ExportedModel, images: LabelledImages) -> Verified:
    """On up to IMAGES pictures, evenly spaced. UserError where an embedding differs by more than LIMIT."""
    positions = np.unique(np.linspace(0, len(images) - 1, IMAGES).round().astype(int)).tolist()
    pixels: list[torch.Tensor] = []
    pictures: list[Image.Image] = []
    for position in positions:
        decoded = images.source[int(images.rows[position])]
        pixels.append(transform.shaped(decoded))
        pictures.append(_opened(images, position, decoded))
    batches = [pixels] if transform.equal_sizes else [[one] for one in pixels]
    with torch.inference_mode():
        expected = torch.cat([net(transform.normalised(transform.batch(batch))) for batch in batches]).numpy()
    found, read = model.rows([one.numpy() for one in pixels]), model.embed(pictures)
    difference = float(np.abs(expected - found).max())
    cosine = float((expected * read).sum(axis=1).min())
    verified = Verified(len(positions), difference, cosine)
    if not difference <= LIMIT or not cosine >= ALIKE:  # also where one is not a number
        raise UserError(f"not exported: {verified.sentence()}")
    return verified


def _opened(images: LabelledImages, position: int, decoded: torch.Tensor) -> Image.Image:
    """The file as a user would open it; of pictures in memory, or cut out of others, what was decoded."""
    if isinstance(images.source, FileImages):
        return Image.open(images.source.path(int(images.rows[position])))
    return Image.fromarray(decoded.permute(1, 2, 0).contiguous().numpy())
