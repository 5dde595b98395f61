"""Transforms of a configuration -> torchvision v2's on uint8, and one normalisation a batch where the network is."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode

from trainables.data import geometry
from trainables.data.geometry import STEPS
from trainables.errors import UserError, first_line, unknown

TO_FLOAT = "ToTensor"
NORMALIZE = "Normalize"
UNEQUAL = "end it with CenterCrop, RandomResizedCrop, or a Resize to [height, width]"


class BatchTransform:
    """uint8 images (3, H, W) of any sizes -> one uint8 batch (B, 3, h, w); that, on any device -> the network's input.

    A batch travels as bytes, a quarter of what it is as numbers.
    """

    def __init__(self, steps: Sequence[geometry.Step], mean: Sequence[float], std: Sequence[float]) -> None:
        self.steps = tuple(steps)
        self.statistics = [float(value) for value in mean], [float(value) for value in std]
        self._scale = 1.0 / (255.0 * torch.tensor(std)).view(1, 3, 1, 1)
        self._shift = -(torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1)

    @property
    def equal_sizes(self) -> bool:
        """Whether images of any sizes leave in one size."""
        return any(
            isinstance(step, geometry.RandomResizedCrop | geometry.CenterCrop)
            or (isinstance(step, geometry.Resize) and step.step.size is not None and len(step.step.size) == 2)
            for step in self.steps
        )

    @property
    def fixed(self) -> bool:
        """Whether nothing in it is random: images of one size may go through it together."""
        return all(isinstance(step, geometry.Resize | geometry.CenterCrop) for step in self.steps)

    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        return self.normalised(self.batch([self.shaped(image) for image in images]))

    def shaped(self, image: Tensor) -> Tensor:
        """One image (3, H, W) through the geometry, from torch's global generator where it is random.

        (B, 3, H, W) too where it is `fixed`.
        """
        for step in self.steps:
            image = step(image)
        return image

    def batch(self, shaped: Sequence[Tensor]) -> Tensor:
        """Images (3, h, w) that went through the geometry -> (B, 3, h, w) uint8. UserError for unequal sizes."""
        sizes = sorted({(image.shape[2], image.shape[1]) for image in shaped})
        if len(sizes) > 1:
            (left, top), (right, bottom) = sizes[0], sizes[-1]
            raise UserError(f"transform leaves images of {left} x {top} and {right} x {bottom} in one batch: {UNEQUAL}")
        return torch.stack(list(shaped))

    def normalised(self, batch: Tensor) -> Tensor:
        """(B, 3, h, w) uint8 -> float32 on the same device and in the same layout, in one operation."""
        if self._scale.device != batch.device:
            self._scale, self._shift = self._scale.to(batch.device), self._shift.to(batch.device)
        if batch.is_contiguous() or not batch.is_contiguous(memory_format=torch.channels_last):
            return torch.addcmul(self._shift, batch, self._scale)
        # as rows of pixels: three numbers at a time take three times as long
        rows = batch.permute(0, 2, 3, 1).flatten(2)  # (B, h, w * 3)
        shift, scale = (numbers.flatten().repeat(batch.shape[3]) for numbers in (self._shift, self._scale))
        return torch.addcmul(shift, rows, scale).unflatten(2, (-1, 3)).permute(0, 3, 1, 2)


def build_transform(steps: Mapping[str, Mapping[str, Any] | None]) -> BatchTransform:
    """Geometric steps in their order, then ToTensor and Normalize; UserError for anything else."""
    known = [*STEPS, TO_FLOAT, NORMALIZE]
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
    return BatchTransform([_step(name, steps[name] or {}) for name in names if name in STEPS], mean, std)


def _step(name: str, kwargs: Mapping[str, Any]) -> geometry.Step:
    of_v2, plain = STEPS[name]
    known = list(inspect.signature(of_v2).parameters)
    for key in kwargs:
        if key not in known:
            raise unknown(f"setting of {name}", key, known)
    sizes = kwargs.get("size", 1)
    for size in sizes if isinstance(sizes, list | tuple) else [sizes]:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UserError(f"{name}: size must be a whole number of pixels above 0, not {sizes!r}")
    if isinstance(kwargs.get("interpolation"), str):  # torchvision takes the name itself from 0.29 on
        modes = [mode.value for mode in InterpolationMode]
        if kwargs["interpolation"] not in modes:
            raise unknown(f"interpolation of {name}", kwargs["interpolation"], modes)
        kwargs = {**kwargs, "interpolation": InterpolationMode(kwargs["interpolation"])}
    try:
        return plain(of_v2(**kwargs))
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {first_line(error)}") from None


def _three(name: str, values: Any) -> list[float]:
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        raise UserError(f"{NORMALIZE}: {name} needs three numbers, not {values!r}")
    return [float(value) for value in values]
