"""Batches of hard negatives: the classes of a batch share few super-classes (as in Cakir et al., CVPR 2019)."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from trainables.data.samplers.base import BatchSampler, by_class, whole_numbers
from trainables.errors import UserError


class HierarchicalSampler(BatchSampler):
    """For every pair of super-classes `batches_per_super_pair` batches an epoch, half a batch from each of the two.

    A half is whole classes, drawn without repetition, of samples_per_class images; a class that has fewer gives them
    with repetition. A super-class of fewer classes than fill a half gives each of them once, and the batch is that
    much smaller. nb_categories: 2 makes pairs, 3 triples with a third of the batch from each, and so on.

    labels, super_labels: (n,) whole numbers. A batch is a list of positions in groups of one class; groups of the
    super-classes take turns, so that any contiguous share of a batch has a part from each.
    UserError: data without super-classes or with fewer than nb_categories; a batch that does not divide into groups.
    """

    def __init__(
        self,
        labels: Sequence[int],
        super_labels: Sequence[int] | None,
        batch_size: int,
        samples_per_class: int,
        batches_per_super_pair: int,
        nb_categories: int = 2,
        *,
        seed: int,
    ) -> None:
        whole_numbers(
            "HierarchicalSampler",
            batch_size=batch_size,
            samples_per_class=samples_per_class,
            batches_per_super_pair=batches_per_super_pair,
            nb_categories=nb_categories,
        )
        if batch_size % (samples_per_class * nb_categories):
            raise UserError(
                f"HierarchicalSampler: batch_size={batch_size} is no multiple of nb_categories={nb_categories} "
                f"times samples_per_class={samples_per_class}"
            )
        if super_labels is None:
            raise UserError("HierarchicalSampler: the data have no super-classes; MPerClassSampler needs none")
        super().__init__(seed)
        self._supers = _classes_by_super(np.asarray(labels), np.asarray(super_labels))
        if len(self._supers) < nb_categories:
            raise UserError(
                f"HierarchicalSampler: a batch needs nb_categories={nb_categories} super-classes, "
                f"the data have {len(self._supers)}"
            )
        self._per_class, self._per_pair, self._together = samples_per_class, batches_per_super_pair, nb_categories
        self._classes_each = batch_size // (samples_per_class * nb_categories)

    def __len__(self) -> int:
        return math.comb(len(self._supers), self._together) * self._per_pair

    def __iter__(self) -> Iterator[list[int]]:
        # one draw for an epoch: the generator's state does not depend on how far the epoch was read
        generator = np.random.default_rng(self._generator.integers(2**63, size=4))
        pairs = list(combinations(range(len(self._supers)), self._together))
        for number in generator.permutation(len(self)):
            pair = pairs[number // self._per_pair]
            yield _in_turns([self._groups(self._supers[member], generator) for member in pair])

    def _groups(self, classes: list[np.ndarray], generator: np.random.Generator) -> list[list[int]]:
        """samples_per_class positions of each of the classes that are drawn."""
        drawn = generator.permutation(len(classes))[: self._classes_each]
        chosen = [classes[index] for index in drawn]
        return [
            generator.choice(images, self._per_class, replace=len(images) < self._per_class).tolist()
            for images in chosen
        ]


def _classes_by_super(labels: np.ndarray, super_labels: np.ndarray) -> list[list[np.ndarray]]:
    """For each super-class, the positions of each of its classes."""
    return [[images[own] for own in by_class(labels[images])] for images in by_class(super_labels)]


def _in_turns(shares: list[list[list[int]]]) -> list[int]:
    """The groups of each super-class -> one batch: a group of each, then the next of each."""
    longest = max(len(share) for share in shares)
    turns = [share[turn] for turn in range(longest) for share in shares if turn < len(share)]
    return [position for group in turns for position in group]
