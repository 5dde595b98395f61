"""Loading and transforms: the same batches whoever loads them, equal to torchvision's own steps."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from trainables.data import (
    ArrayImages,
    Emoji,
    ImageSource,
    LabelledImages,
    MPerClassSampler,
    TrainLoader,
    build_transform,
    eval_batches,
    loading,
)
from trainables.data.emoji import FOLDER
from trainables.data.transforms import BatchTransform
from trainables.errors import UserError

TRAIN = {
    "RandomResizedCrop": {"size": 32, "scale": [0.5, 1.0]},
    "RandomHorizontalFlip": {"p": 0.5},
    "ToTensor": None,
    "Normalize": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
}
TEST = {"Resize": {"size": 32}, "CenterCrop": {"size": 24}, "ToTensor": None, "Normalize": TRAIN["Normalize"]}


class Slow(ArrayImages):
    """As if it had to be decoded: may be loaded by workers."""

    in_memory = False


class Single:
    """Gives one image at a time."""

    in_memory = True

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self._source[row]


def images(root: Path, kind: type[ArrayImages]) -> LabelledImages:
    train = Emoji(str(root)).train()
    return LabelledImages(kind(root / FOLDER / "images.npy"), train.rows, train.labels, None, train.class_names)


def epochs(root: Path, workers: int, kind: type[ArrayImages], seed: int = 5) -> list[torch.Tensor]:
    found = images(root, kind)
    sampler = MPerClassSampler(found.labels, 16, 4, seed=1)
    loader = TrainLoader(found, build_transform(TRAIN), sampler, seed=seed, workers=workers)
    try:
        return [batch[0] for epoch in (1, 2) for batch in loader.epoch(epoch)]
    finally:
        loader.close()


def test_batches_do_not_depend_on_who_loads_them(tiny_emoji: Path) -> None:
    alone, helped = epochs(tiny_emoji, 0, ArrayImages), epochs(tiny_emoji, 2, Slow)
    assert len(alone) == len(helped) > 4
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))
    assert not torch.equal(alone[0], epochs(tiny_emoji, 0, ArrayImages, seed=6)[0])


def test_for_a_gpu_pictures_in_memory_come_from_processes_too(tiny_emoji: Path) -> None:
    found = images(tiny_emoji, ArrayImages)
    look = found.subset(np.arange(40, 90))
    of_test = build_transform(TEST)
    expected = list(eval_batches(look, of_test, 16))
    sampler = MPerClassSampler(found.labels, 16, 4, seed=1)
    loader = TrainLoader(found, build_transform(TRAIN), sampler, seed=5, workers=2, for_gpu=True, evaluated=of_test)
    try:
        trained, looked, processes = [], [], set()
        for epoch in (1, 2):
            trained += [batch[0] for batch in loader.epoch(epoch)]
            looked.append(list(loader.look(look, 16)))
            processes |= {worker.pid for worker in loader._loader._loader._iterator._workers}  # type: ignore[union-attr]
        assert len(processes) == 2
        next(loader.epoch(3))  # left unfinished
        looked.append(list(loader.look(look, 16)))
    finally:
        loader.close()
    alone = epochs(tiny_emoji, 0, ArrayImages)
    assert all(torch.equal(one, other) for one, other in zip(trained, alone, strict=True))
    for batches in looked:
        for one, other in zip(batches, expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_pictures_of_another_source_are_looked_at_too(tiny_emoji: Path) -> None:
    found, other = images(tiny_emoji, ArrayImages), images(tiny_emoji, ArrayImages).subset(np.arange(20))
    sampler = MPerClassSampler(found.labels, 16, 4, seed=1)
    loader = TrainLoader(found, build_transform(TRAIN), sampler, seed=5, evaluated=build_transform(TEST))
    assert other.source is not found.source
    looked = list(loader.look(other, 8))
    expected = list(eval_batches(other, build_transform(TEST), 8))
    assert [len(batch[0]) for batch in looked] == [8, 8, 4]
    assert all(torch.equal(one[0], same[0]) for one, same in zip(looked, expected, strict=True))


def test_fixed_steps_are_done_once_to_a_picture_while_there_is_room(
    tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = images(tiny_emoji, ArrayImages)
    sampler = MPerClassSampler(found.labels, 16, 4, seed=1)
    transform = build_transform(TEST)
    shown = found.subset(np.arange(7, 60))
    expected = list(eval_batches(shown, transform, 16))
    monkeypatch.setattr(loading, "KEPT", 3 * 16 * 3 * 24 * 24)  # three of its four batches
    loader = TrainLoader(found, build_transform(TRAIN), sampler, seed=5, evaluated=transform)
    shaped: list[int] = []

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        shaped.append(len(pixels))
        return BatchTransform.shaped(transform, pixels)

    monkeypatch.setattr(transform, "shaped", counted)
    for _ in range(2):
        looked = list(loader.look(found.subset(np.arange(7, 60)), 16))
        for one, other in zip(looked, expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert shaped == [16, 16, 16, 5, 5]
    assert not torch.equal(next(loader.look(found, 16))[0], looked[0][0])  # other pictures


def test_the_global_generators_are_left_alone(tiny_emoji: Path) -> None:
    torch.manual_seed(0)
    epochs(tiny_emoji, 0, ArrayImages)
    after = torch.rand(2)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(2))


def test_evaluation_batches_are_every_image_in_order(tiny_emoji: Path) -> None:
    found = images(tiny_emoji, ArrayImages)
    transform = build_transform(TEST)
    batches = list(eval_batches(found, transform, 32))
    assert torch.equal(torch.cat([batch[2] for batch in batches]), torch.arange(len(found)))
    assert torch.equal(torch.cat([batch[1] for batch in batches]), torch.as_tensor(found.labels))
    assert all(batch[0].dtype == torch.uint8 for batch in batches)
    pixels = transform.normalised(torch.cat([batch[0] for batch in batches]))
    slow = v2.Compose(
        [
            v2.Resize(32),
            v2.CenterCrop(24),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(TRAIN["Normalize"]["mean"], TRAIN["Normalize"]["std"]),  # type: ignore[index]
        ]
    )
    expected = torch.stack([slow(found.source[int(row)]) for row in found.rows])
    assert torch.allclose(pixels, expected, atol=1e-5)


def test_the_normalisation_is_the_sum_that_it_always_was() -> None:
    batch = torch.randint(0, 256, (5, 3, 17, 9), dtype=torch.uint8)
    mean, std = (torch.tensor(TRAIN["Normalize"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))  # type: ignore[index]
    expected = torch.addcmul(-(mean / std), batch.float(), 1.0 / (255.0 * std))
    assert torch.equal(build_transform(TRAIN).normalised(batch), expected)
    last = build_transform(TRAIN).normalised(batch.contiguous(memory_format=torch.channels_last))
    assert torch.equal(last, expected) and last.is_contiguous(memory_format=torch.channels_last)


def test_fixed_steps_take_a_batch_as_they_take_its_images(tiny_emoji: Path) -> None:
    together, alone = images(tiny_emoji, ArrayImages), images(tiny_emoji, ArrayImages)
    alone = replace(alone, source=Single(alone.source))
    transform = build_transform({"Resize": {"size": 40}, "CenterCrop": {"size": 28}, "ToTensor": None})
    for one, other in zip(eval_batches(together, transform, 32), eval_batches(alone, transform, 32), strict=True):
        assert torch.equal(one[0], other[0]) and one[0].is_contiguous()


def test_a_source_travels_as_its_path(tiny_emoji: Path) -> None:
    source = ArrayImages(tiny_emoji / FOLDER / "images.npy")
    travelled = pickle.dumps(source)
    assert len(travelled) < 1000
    assert torch.equal(pickle.loads(travelled)[3], source[3])
    assert source[3].dtype == torch.uint8 and source[3].shape == (3, 64, 64)
    assert isinstance(source.pixels, np.memmap)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"Resise": {"size": 3}, "ToTensor": None}, "did you mean 'Resize'"),
        ({"Resize": {"sise": 3}, "ToTensor": None}, "did you mean 'size'"),
        ({"Resize": {"size": 0}, "ToTensor": None}, "whole number of pixels"),
        ({"Resize": {"size": 9, "interpolation": "bicubik"}, "ToTensor": None}, "did you mean 'bicubic'"),
        ({"RandomHorizontalFlip": {"p": 2}, "ToTensor": None}, "RandomHorizontalFlip"),
        ({"Resize": {"size": 3}}, "the last steps are ToTensor"),
        ({"ToTensor": None, "Normalize": {"mean": [0.5], "std": [1, 1, 1]}}, "three numbers"),
        ({"ToTensor": None, "Normalize": {"mean": [0, 0, 0], "std": [0, 1, 1]}}, "std must be above 0"),
        ({"ToTensor": None, "Normalize": {"maen": [0, 0, 0]}}, "did you mean 'mean'"),
    ],
)
def test_mistakes(steps: dict[str, dict[str, object] | None], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_transform(steps)
