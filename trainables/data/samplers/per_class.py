"""Batches of some images each of some classes."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np

from trainables.data.samplers.base import BatchSampler, by_class, whole_numbers
from trainables.errors import UserError


class MPerClassSampler(BatchSampler):
    """Batches of batch_size / samples_per_class classes with samples_per_class images each.

    Every epoch shuffles the classes and the images of each; a class gives `samples_per_class` images at a time, none
    twice in an epoch, until a batch cannot be filled. labels: (n,) whole numbers; a batch is a list of positions.
    """

    def __init__(self, labels: Sequence[int], batch_size: int, samples_per_class: int, seed: int) -> None:
        whole_numbers("MPerClassSampler", batch_size=batch_size, samples_per_class=samples_per_class)
        if batch_size % samples_per_class:
            raise UserError(
                f"MPerClassSampler: batch_size={batch_size} is no multiple of samples_per_class={samples_per_class}"
            )
        super().__init__(seed)
        self._images = [images for images in by_class(np.asarray(labels)) if len(images) >= samples_per_class]
        self._classes_per_batch = batch_size // samples_per_class
        self._per_class = samples_per_class
        if len(self._images) < self._classes_per_batch:
            raise UserError(
                f"MPerClassSampler: a batch needs {self._classes_per_batch} classes with at least {samples_per_class} "
                f"images, the data have {len(self._images)}"
            )

    def __len__(self) -> int:
        """Batches of the coming epoch: with classes of unequal size, the order they come in decides how many."""
        order = copy.deepcopy(self._generator).permutation(len(self._images))
        return len(_rounds([len(self._images[index]) // self._per_class for index in order], self._classes_per_batch))

    def __iter__(self) -> Iterator[list[int]]:
        order = self._generator.permutation(len(self._images))
        images = [self._generator.permutation(self._images[index]) for index in order]
        taken = [0] * len(images)
        for members in _rounds([len(own) // self._per_class for own in images], self._classes_per_batch):
            batch: list[int] = []
            for member in members:
                start = taken[member]
                batch += images[member][start : start + self._per_class].tolist()
                taken[member] = start + self._per_class
            yield batch


def _rounds(chunks: list[int], classes_per_batch: int) -> list[list[int]]:
    """Which classes make each batch, given how many chunks of images each has: always those that come next in order.

    A class gives one chunk a batch; passes go round the classes until fewer than a batch's worth have a chunk left.
    """
    left = list(chunks)
    waiting = list(range(len(chunks)))
    batches = []
    while len(waiting) >= classes_per_batch:
        members, waiting = waiting[:classes_per_batch], waiting[classes_per_batch:]
        for member in members:
            left[member] -= 1
        waiting += [member for member in members if left[member]]
        batches.append(members)
    return batches
