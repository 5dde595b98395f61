"""torchvision's v2 steps on uint8 tensors without what surrounds them: the same numbers drawn, the same pixels.

On small pictures the search for tensors in what is given and the look-up of a kernel take longer than the kernel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

ATTEMPTS = 10  # to draw a crop that fits, as v2's


@dataclass(frozen=True)
class Resize:
    """(..., 3, H, W) uint8, one picture or several of one size."""

    step: v2.Resize

    def __call__(self, image: Tensor) -> Tensor:
        step = self.step
        return functional.resize_image(image, step.size, step.interpolation, step.max_size, step.antialias)


@dataclass(frozen=True)
class CenterCrop:
    """(..., 3, H, W) uint8, one picture or several of one size."""

    step: v2.CenterCrop

    def __call__(self, image: Tensor) -> Tensor:
        return functional.center_crop_image(image, self.step.size)


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """(3, H, W); draws one number from torch's global generator."""

    step: v2.RandomHorizontalFlip

    def __call__(self, image: Tensor) -> Tensor:
        if torch.rand(1).item() >= self.step.p:
            return image
        return functional.horizontal_flip_image(image)


class RandomResizedCrop:
    """(3, H, W); draws from torch's global generator until a crop fits, four numbers where the first does."""

    def __init__(self, step: v2.RandomResizedCrop) -> None:
        self.step = step
        # single precision, as v2 draws them
        self._logs: list[float] = torch.log(torch.tensor(step.ratio)).tolist()

    def __call__(self, image: Tensor) -> Tensor:
        top, left, height, width = self.box(image.shape[-2], image.shape[-1])
        crop = image[..., top : top + height, left : left + width]
        return functional.resize_image(crop, self.step.size, self.step.interpolation, antialias=self.step.antialias)

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the crop out of a picture of this size."""
        for _ in range(ATTEMPTS):
            area = height * width * torch.empty(1).uniform_(*self.step.scale).item()
            ratio = torch.empty(1).uniform_(*self._logs).exp_().item()
            wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < high <= height:
                top, left = _below(height - high + 1), _below(width - wide + 1)
                return top, left, high, wide
        return self._largest_in_the_middle(height, width)

    def _largest_in_the_middle(self, height: int, width: int) -> tuple[int, int, int, int]:
        narrow, broad = min(self.step.ratio), max(self.step.ratio)
        high, wide = height, width
        if width / height < narrow:
            high = round(width / narrow)
        elif width / height > broad:
            wide = round(height * broad)
        return (height - high) // 2, (width - wide) // 2, high, wide


Step = Resize | CenterCrop | RandomHorizontalFlip | RandomResizedCrop
STEPS: dict[str, tuple[type[v2.Transform], Callable[..., Step]]] = {
    "Resize": (v2.Resize, Resize),
    "RandomResizedCrop": (v2.RandomResizedCrop, RandomResizedCrop),
    "RandomHorizontalFlip": (v2.RandomHorizontalFlip, RandomHorizontalFlip),
    "CenterCrop": (v2.CenterCrop, CenterCrop),
}


def _below(end: int) -> int:
    return int(torch.randint(0, end, size=(1,)).item())
