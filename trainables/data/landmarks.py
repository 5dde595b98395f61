"""Landmark images: files below one folder, and queries that are cut out of larger pictures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from trainables.data.files import read_image
from trainables.data.splits import ImageSource
from trainables.errors import UserError


class LandmarkFiles:
    """root / names[row], decoded when asked for."""

    in_memory = False

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self._root, self._names = root, tuple(names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, row: int) -> Tensor:
        return read_image(self._root / self._names[row])

    def missing(self, present: Iterable[str] | None = None) -> list[Path]:
        """The files that are not there; `present`, the names known to be there, spares asking for each."""
        if present is not None:
            there = set(present)
            return [self._root / name for name in self._names if name not in there]
        return [self._root / name for name in self._names if not (self._root / name).is_file()]


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


def complain(name: str, missing: Sequence[Path], images: int, where: str) -> None:
    """UserError in one line where image files are missing."""
    if missing:
        raise UserError(f"{name}: {len(missing)} of {images} images are missing, the first is {missing[0]}: {where}")
