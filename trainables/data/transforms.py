"""Transforms of a configuration -> torchvision v2 on uint8, and one normalisation a batch."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from trainables.errors import UserError, first_line, unknown

GEOMETRY: dict[str, type[v2.Transform]] = {
    "Resize": v2.Resize,
    "RandomResizedCrop": v2.RandomResizedCrop,
    "RandomHorizontalFlip": v2.RandomHorizontalFlip,
    "CenterCrop": v2.CenterCrop,
}
TO_FLOAT = "ToTensor"
NORMALIZE = "Normalize"
UNEQUAL = "end it with CenterCrop, RandomResizedCrop, or a Resize to [height, width]"


class BatchTransform:
    """uint8 images (3, H, W) of any sizes -> one float32 batch (B, 3, h, w)."""

    def __init__(self, geometry: Sequence[v2.Transform], mean: Sequence[float], std: Sequence[float]) -> None:
        self._geometry = list(geometry)
        self._scale = 1.0 / (255.0 * torch.tensor(std)).view(1, 3, 1, 1)
        self._shift = -(torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1)

    @property
    def equal_sizes(self) -> bool:
        """Whether images of any sizes leave in one size."""
        return any(
            isinstance(step, v2.RandomResizedCrop | v2.CenterCrop)
            or (isinstance(step, v2.Resize) and step.size is not None and len(step.size) == 2)
            for step in self._geometry
        )

    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        return self.batch([self.shaped(image) for image in images])

    def batch(self, shaped: Sequence[Tensor]) -> Tensor:
        """Images (3, h, w) that went through the geometry -> the normalised batch. UserError for unequal sizes."""
        sizes = sorted({(image.shape[2], image.shape[1]) for image in shaped})
        if len(sizes) > 1:
            (left, top), (right, bottom) = sizes[0], sizes[-1]
            raise UserError(f"transform leaves images of {left} x {top} and {right} x {bottom} in one batch: {UNEQUAL}")
        return torch.addcmul(self._shift, torch.stack(list(shaped)).float(), self._scale)

    def shaped(self, image: Tensor) -> Tensor:
        """One image (3, H, W) through the geometry, from the global generators where it is random."""
        for step in self._geometry:
            image = step(image)
        return image


def build_transform(steps: Mapping[str, Mapping[str, Any] | None]) -> BatchTransform:
    """Geometric steps in their order, then ToTensor and Normalize; UserError for anything else."""
    known = [*GEOMETRY, TO_FLOAT, NORMALIZE]
    names = list(steps)
    for name in names:
        if name not in known:
            raise unknown("transform", name, known)
    if names[-2:] != [TO_FLOAT, NORMALIZE] and names[-1:] != [TO_FLOAT]:
        raise UserError(f"transform: the last steps are {TO_FLOAT} and, after it, {NORMALIZE}; here {', '.join(names)}")
    normal = steps.get(NORMALIZE) or {}
    mean, std = _three("mean", normal.get("mean", [0.0] * 3)), _three("std", normal.get("std", [1.0] * 3))
    if set(normal) - {"mean", "std"}:
        raise unknown(f"setting of {NORMALIZE}", next(iter(set(normal) - {"mean", "std"})), ["mean", "std"])
    if min(std) <= 0:
        raise UserError(f"{NORMALIZE}: std must be above 0, not {std}")
    return BatchTransform([_step(name, steps[name] or {}) for name in names if name in GEOMETRY], mean, std)


def _step(name: str, kwargs: Mapping[str, Any]) -> v2.Transform:
    known = list(inspect.signature(GEOMETRY[name]).parameters)
    for key in kwargs:
        if key not in known:
            raise unknown(f"setting of {name}", key, known)
    sizes = kwargs.get("size", 1)
    for size in sizes if isinstance(sizes, list | tuple) else [sizes]:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UserError(f"{name}: size must be a whole number of pixels above 0, not {sizes!r}")
    try:
        return GEOMETRY[name](**kwargs)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {first_line(error)}") from None


def _three(name: str, values: Any) -> list[float]:
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise UserError(f"{NORMALIZE}: {name} needs three numbers, not {values!r}")
    return [float(value) for value in values]
