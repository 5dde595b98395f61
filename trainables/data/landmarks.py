"""Queries of landmarks: cut out of larger pictures."""

import numpy as np
from torch import Tensor

from trainables.data.splits import ImageSource
from trainables.errors import UserError


class CroppedImages:
    """The images of a source, each cut to its box: boxes (n, 4) left, top, right, bottom in pixels.

    Coordinates are rounded as PIL's `crop` does, and end at the image's edge.
    """

    def __init__(self, source: ImageSource, boxes: np.ndarray) -> None:
        assert boxes.shape == (len(source), 4), "one box for each image"
        self._source, self._boxes = source, boxes
        self.in_memory = source.in_memory

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, row: int) -> Tensor:
        image = self._source[row]
        left, top, right, bottom = (max(0, round(float(edge))) for edge in self._boxes[row])
        cut = image[:, top:bottom, left:right]
        if not cut.numel():
            size = f"{image.shape[2]} x {image.shape[1]}"
            raise UserError(f"image {row}: the box {self._boxes[row].tolist()} lies outside its {size} pixels")
        return cut
