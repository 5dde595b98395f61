"""The plain steps against torchvision's v2 itself: the same draws, the same pixels, to the bit."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from trainables.data import build_transform

CASES = {
    "a crop": ({"RandomResizedCrop": {"size": 32, "scale": [0.16, 1.0], "ratio": [0.75, 1.33]}}, v2.RandomResizedCrop),
    "a crop of another shape": ({"RandomResizedCrop": {"size": [20, 36]}}, v2.RandomResizedCrop),
    "a crop that never fits": (
        {"RandomResizedCrop": {"size": 16, "scale": [0.9, 1.0], "ratio": [3.0, 3.1]}},
        v2.RandomResizedCrop,
    ),
    "a tall crop that never fits": (
        {"RandomResizedCrop": {"size": 16, "scale": [0.9, 1.0], "ratio": [0.2, 0.21]}},
        v2.RandomResizedCrop,
    ),
    "a nearest crop": ({"RandomResizedCrop": {"size": 16, "interpolation": "nearest"}}, v2.RandomResizedCrop),
    "a cubic crop": ({"RandomResizedCrop": {"size": 16, "interpolation": "bicubic"}}, v2.RandomResizedCrop),
    "a crop with aliases": ({"RandomResizedCrop": {"size": 16, "antialias": False}}, v2.RandomResizedCrop),
    "a flip": ({"RandomHorizontalFlip": {"p": 0.5}}, v2.RandomHorizontalFlip),
    "no flip": ({"RandomHorizontalFlip": {"p": 0.0}}, v2.RandomHorizontalFlip),
    "always a flip": ({"RandomHorizontalFlip": {"p": 1.0}}, v2.RandomHorizontalFlip),
    "the shorter side": ({"Resize": {"size": 24}}, v2.Resize),
    "both sides": ({"Resize": {"size": [24, 30]}}, v2.Resize),
    "the longer side": ({"Resize": {"size": 24, "max_size": 28}}, v2.Resize),
    "larger": ({"Resize": {"size": 90, "interpolation": "bicubic"}}, v2.Resize),
    "the middle": ({"CenterCrop": {"size": 24}}, v2.CenterCrop),
    "more than there is": ({"CenterCrop": {"size": [30, 80]}}, v2.CenterCrop),
}


@pytest.mark.parametrize("height_width", [(40, 64), (64, 40), (37, 37), (32, 32)])
@pytest.mark.parametrize("steps, of_v2", CASES.values(), ids=CASES)
def test_equals_torchvision(
    steps: dict[str, dict[str, object]], of_v2: Callable[..., v2.Transform], height_width: tuple[int, int]
) -> None:
    ((_, kwargs),) = steps.items()
    modes = {"interpolation": InterpolationMode(kwargs["interpolation"])} if "interpolation" in kwargs else {}
    ours, theirs = build_transform({**steps, "ToTensor": None}), of_v2(**{**kwargs, **modes})
    # as decoders leave them: colours together
    image = torch.randint(0, 256, (*height_width, 3), dtype=torch.uint8).permute(2, 0, 1)
    for seed in range(30):
        torch.manual_seed(seed)
        expected = theirs(image)
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        assert torch.equal(ours.shaped(image), expected)
        assert torch.equal(torch.get_rng_state(), state), "as many numbers drawn"


def test_a_whole_recipe_equals_torchvision() -> None:
    names = {
        "Resize": {"size": 48},
        "RandomResizedCrop": {"size": 32, "scale": [0.16, 1.0]},
        "RandomHorizontalFlip": None,
        "ToTensor": None,
    }
    theirs = v2.Compose([v2.Resize(48), v2.RandomResizedCrop(32, scale=(0.16, 1.0)), v2.RandomHorizontalFlip()])
    images = [torch.randint(0, 256, (3, 60 + side, 90 - side), dtype=torch.uint8) for side in range(40)]
    torch.manual_seed(3)
    expected = [theirs(image) for image in images]
    torch.manual_seed(3)
    ours: list[Tensor] = [build_transform(names).shaped(image) for image in images]
    assert all(torch.equal(one, other) for one, other in zip(ours, expected, strict=True))
