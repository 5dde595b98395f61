"""Batches of pixels. An image's augmentation depends on (seed, epoch, batch number, place in the batch) alone:
not on who loads it, nor on how a batch is shared among processes."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainables.data.samplers import BatchSampler
from trainables.data.sources import ArrayImages
from trainables.data.splits import LabelledImages
from trainables.data.transforms import TO_FLOAT, BatchTransform, build_transform
from trainables.errors import UserError

Batch = tuple[Tensor, Tensor, Tensor]  # images (B, 3, H, W) uint8, labels (B,), positions (B,)
Item = tuple[Sequence[int], Sequence[int]]  # a seed and a position for each image
THUMBNAIL = 32


class BatchedImages(Dataset[Batch | UserError]):
    """(seeds, positions) -> a batch through the geometry; torch's global generator is left as it was.

    A user's mistake (an image that cannot be decoded) is given back, not raised: raised in a worker process, it would
    arrive wrapped in that process's traceback.
    """

    def __init__(self, images: LabelledImages, transform: BatchTransform) -> None:
        self._images, self._transform = images, transform

    def __getitem__(self, item: Item) -> Batch | UserError:
        seeds, positions = item
        rows = self._images.rows[list(positions)]
        try:
            pixels = self._pixels(seeds, rows)
        except UserError as error:
            return error
        labels = torch.as_tensor(self._images.labels[list(positions)])
        return pixels, labels, torch.as_tensor(list(positions))

    def _pixels(self, seeds: Sequence[int], rows: np.ndarray) -> Tensor:
        source = self._images.source
        if isinstance(source, ArrayImages) and self._transform.fixed:
            return self._transform.shaped(source.batch(rows)).contiguous()
        generator, before = torch.default_generator, torch.get_rng_state()
        try:
            return self._transform.batch(
                [self._shaped(generator, seed, int(row)) for seed, row in zip(seeds, rows, strict=True)]
            )
        finally:
            generator.set_state(before)

    def _shaped(self, generator: torch.Generator, seed: int, row: int) -> Tensor:
        generator.manual_seed(seed)  # the only one that the geometry draws from
        return self._transform.shaped(self._images.source[row])


class TrainLoader:
    """`epoch(n)` gives the sampler's next epoch in batches of bytes; worker processes live from epoch to epoch.

    The labels of a batch are `images.class_numbers`, 0 to C-1: losses with a proxy for each class count from 0.
    share: batch size -> the part of each batch that is loaded here, where several processes share one batch.
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
        share: Callable[[int], slice] = slice,
    ) -> None:
        self.images = images
        self._plan = _EpochPlan(sampler, seed, share)
        numbered = replace(images, labels=images.class_numbers)
        self._loader = _loader(BatchedImages(numbered, transform), self._plan, images, workers, pin_memory)

    def __len__(self) -> int:
        return len(self._plan)

    def epoch(self, number: int) -> Iterator[Batch]:
        self._plan.number = number
        return _raising(self._loader)

    def close(self) -> None:
        """Ends the worker processes."""
        iterator = self._loader._iterator
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
        self._loader._iterator = None


def eval_batches(
    images: LabelledImages,
    transform: BatchTransform,
    batch_size: int,
    *,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Every image once, in order; the pixels are still to be normalised."""
    parts = [range(start, min(start + batch_size, len(images))) for start in range(0, len(images), batch_size)]
    items = [([0] * len(part), part) for part in parts]
    yield from _raising(_loader(BatchedImages(images, transform), items, images, workers, pin_memory))


def same_size(images: LabelledImages) -> np.ndarray:
    """(N, H, W, 3) uint8: pictures in memory as they are, files brought to THUMBNAIL x THUMBNAIL."""
    if images.source.in_memory:
        return np.stack([images.source[int(row)].permute(1, 2, 0).numpy() for row in images.rows])
    small = build_transform({"Resize": {"size": [THUMBNAIL, THUMBNAIL]}, TO_FLOAT: None})
    batches = eval_batches(images, small, 256, workers=cores())
    return np.concatenate([pixels.permute(0, 2, 3, 1).numpy() for pixels, _, _ in batches])


class _EpochPlan:
    """This process' share of the sampler's batches with the seeds of its images, for whichever epoch number is set."""

    def __init__(self, sampler: BatchSampler, seed: int, share: Callable[[int], slice]) -> None:
        self._sampler, self._seed, self._share, self.number = sampler, seed, share, 0

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Item]:
        for batch_number, positions in enumerate(self._sampler):
            sequence = np.random.SeedSequence([self._seed, self.number, batch_number])
            seeds = sequence.generate_state(len(positions), np.uint64) >> np.uint64(1)
            own = self._share(len(positions))
            yield seeds[own].tolist(), positions[own]


def _loader(
    batches: BatchedImages, items: Iterable[Item], images: LabelledImages, workers: int, pin_memory: bool
) -> "DataLoader[Batch | UserError]":
    used = 0 if images.source.in_memory else min(workers, cores())
    return DataLoader(
        batches,
        batch_size=None,
        sampler=items,
        num_workers=used,
        persistent_workers=used > 0,
        pin_memory=pin_memory,
        worker_init_fn=_one_thread,
        generator=torch.Generator(),  # else every epoch draws from the global one
    )


def _raising(batches: Iterable[Batch | UserError]) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
