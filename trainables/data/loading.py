"""Batches of pixels. An image's augmentation depends on (seed, epoch, batch number, place in the batch) alone:
not on who loads it, nor on how a batch is shared among processes."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainables.data.samplers import BatchSampler
from trainables.data.sources import ArrayImages
from trainables.data.splits import ImageSource, LabelledImages
from trainables.data.transforms import TO_FLOAT, BatchTransform, build_transform
from trainables.errors import UserError

Batch = tuple[Tensor, Tensor, Tensor]  # images (B, 3, H, W) uint8, labels (B,), positions (B,)
THUMBNAIL = 32
KEPT = 64 * 2**20  # bytes of shaped pictures, by a loader, between two looks at them


class Item(NamedTuple):
    """A batch to come. It says all that a worker is to know but the source: whatever split it is of."""

    transform: int  # which of the loader's
    seeds: Sequence[int]  # one for each image
    rows: np.ndarray  # of the source
    labels: np.ndarray
    positions: np.ndarray  # in the split


class Pictures(Dataset[Batch | UserError]):
    """An Item -> its batch through the geometry; torch's global generator is left as it was.

    A user's mistake (an image that cannot be decoded) is given back, not raised: raised in a worker process, it would
    arrive wrapped in that process's traceback.
    """

    def __init__(self, source: ImageSource, transforms: Sequence[BatchTransform]) -> None:
        self._source, self._transforms = source, transforms

    def __getitem__(self, item: Item) -> Batch | UserError:
        try:
            pixels = self._pixels(self._transforms[item.transform], item.seeds, item.rows)
        except UserError as error:
            return error
        return pixels, torch.as_tensor(item.labels), torch.as_tensor(item.positions)

    def _pixels(self, transform: BatchTransform, seeds: Sequence[int], rows: np.ndarray) -> Tensor:
        if isinstance(self._source, ArrayImages) and transform.fixed:
            return transform.shaped(self._source.batch(rows)).contiguous()
        generator, before = torch.default_generator, torch.get_rng_state()
        try:
            return transform.batch(
                [self._shaped(transform, generator, seed, int(row)) for seed, row in zip(seeds, rows, strict=True)]
            )
        finally:
            generator.set_state(before)

    def _shaped(self, transform: BatchTransform, generator: torch.Generator, seed: int, row: int) -> Tensor:
        generator.manual_seed(seed)  # the only one that the geometry draws from
        return transform.shaped(self._source[row])


class Loader:
    """Batches of one source, of one plan after the other, by worker processes that live from plan to plan.

    for_gpu: pictures in memory, too, are shaped by the workers: a GPU would wait for them. On a CPU the cores that
    shape them are the training's own, and there is nothing to gain.
    """

    def __init__(
        self,
        source: ImageSource,
        transforms: Sequence[BatchTransform],
        workers: int = 0,
        pin_memory: bool = False,
        for_gpu: bool = False,
    ) -> None:
        self.source = source
        self._plan = _Plan()
        used = min(workers, cores()) if for_gpu or not source.in_memory else 0
        self._loader = DataLoader(
            Pictures(source, transforms),
            batch_size=None,
            sampler=self._plan,
            num_workers=used,
            persistent_workers=used > 0,
            pin_memory=pin_memory,
            worker_init_fn=_one_thread,
            generator=torch.Generator(),  # else every epoch draws from the global one
        )

    def batches(self, items: Iterable[Item]) -> Iterator[Batch]:
        """Of these, in their order. One plan at a time. UserError for an image that cannot be decoded."""
        self._plan.items = items
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch

    def close(self) -> None:
        """Ends the worker processes; the next plan starts new ones."""
        iterator = self._loader._iterator
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
        self._loader._iterator = None


class TrainLoader:
    """`epoch(n)` gives the sampler's next epoch in batches of bytes.

    The labels of a batch are `images.class_numbers`, 0 to C-1: losses with a proxy for each class count from 0.
    share: batch size -> the part of each batch that is loaded here, where several processes share one batch.
    evaluated: the transform of what is looked at between two epochs, by the same worker processes.
    """

    def __init__(
        self,
        images: LabelledImages,
        transform: BatchTransform,
        sampler: BatchSampler,
        *,
        seed: int,
        workers: int = 0,
        pin_memory: bool = False,
        for_gpu: bool = False,
        share: Callable[[int], slice] = slice,
        evaluated: BatchTransform | None = None,
    ) -> None:
        self.images = images
        self._sampler, self._seed, self._share, self._evaluated = sampler, seed, share, evaluated
        self._numbers = images.class_numbers
        self._workers, self._pin_memory = workers, pin_memory
        self._kept: dict[tuple[ArrayImages, bytes], Tensor] = {}
        self._room = KEPT
        self._loader = Loader(images.source, [transform, evaluated or transform], workers, pin_memory, for_gpu)

    def __len__(self) -> int:
        return len(self._sampler)

    def epoch(self, number: int) -> Iterator[Batch]:
        return self._loader.batches(self._items(number))

    def look(self, images: LabelledImages, batch_size: int) -> Iterator[Batch]:
        """As `eval_batches` gives them, by `evaluated`."""
        assert self._evaluated is not None
        if isinstance(images.source, ArrayImages) and self._evaluated.fixed:
            return self._shaped_once(images.source, images, batch_size)  # in no time: not worth a worker's way here
        if images.source is self._loader.source:
            return self._loader.batches(_every(images, batch_size, transform=1))
        return eval_batches(images, self._evaluated, batch_size, workers=self._workers, pin_memory=self._pin_memory)

    def close(self) -> None:
        """Ends the worker processes."""
        self._loader.close()

    def _shaped_once(self, source: ArrayImages, images: LabelledImages, batch_size: int) -> Iterator[Batch]:
        """The same batches at every look: what is not random is done to a picture once, while there is room."""
        assert self._evaluated is not None
        for item in _every(images, batch_size):
            key = source, item.rows.tobytes()
            pixels = self._kept.get(key)
            if pixels is None:
                shaped = self._evaluated.shaped(source.batch(item.rows))
                pixels = shaped.contiguous(memory_format=torch.channels_last)  # as the source has them
                pixels = pixels.pin_memory() if self._pin_memory else pixels
                if pixels.nbytes <= self._room:
                    self._kept[key], self._room = pixels, self._room - pixels.nbytes
            yield pixels, torch.as_tensor(item.labels), torch.as_tensor(item.positions)

    def _items(self, number: int) -> Iterator[Item]:
        """This process' share of the sampler's batches with the seeds of its images."""
        for batch_number, positions in enumerate(self._sampler):
            sequence = np.random.SeedSequence([self._seed, number, batch_number])
            seeds = sequence.generate_state(len(positions), np.uint64) >> np.uint64(1)
            part = self._share(len(positions))
            own = np.asarray(positions[part], np.int64)
            yield Item(0, seeds[part].tolist(), self.images.rows[own], self._numbers[own], own)


def eval_batches(
    images: LabelledImages,
    transform: BatchTransform,
    batch_size: int,
    *,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Every image once, in order; the pixels are still to be normalised."""
    yield from Loader(images.source, [transform], workers, pin_memory).batches(_every(images, batch_size))


def _every(images: LabelledImages, batch_size: int, transform: int = 0) -> Iterator[Item]:
    for start in range(0, len(images), batch_size):
        own = np.arange(start, min(start + batch_size, len(images)))
        yield Item(transform, [0] * len(own), images.rows[own], images.labels[own], own)


class _Plan:
    """What a DataLoader takes for its sampler: whichever items are to come."""

    items: Iterable[Item] = ()

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


def same_size(images: LabelledImages) -> np.ndarray:
    """(N, H, W, 3) uint8: pictures in memory as they are, files brought to THUMBNAIL x THUMBNAIL."""
    if images.source.in_memory:
        return np.stack([images.source[int(row)].permute(1, 2, 0).numpy() for row in images.rows])
    small = build_transform({"Resize": {"size": [THUMBNAIL, THUMBNAIL]}, TO_FLOAT: None})
    batches = eval_batches(images, small, 256, workers=cores())
    return np.concatenate([pixels.permute(0, 2, 3, 1).numpy() for pixels, _, _ in batches])


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
