"""The samplers as one would write them down: dictionaries, loops, a queue. They draw what the real ones draw."""

from collections import defaultdict, deque
from itertools import combinations

import numpy as np


def per_class_epoch(labels: list[int], batch_size: int, samples: int, seed: int) -> list[list[int]]:
    """Classes stand in a queue; the first give `samples` images each and go to its end while they have enough left."""
    generator = np.random.default_rng(seed)
    images = defaultdict(list)
    for position, label in enumerate(labels):
        images[label].append(position)
    classes = [label for label in sorted(images) if len(images[label]) >= samples]
    queue = deque(classes[index] for index in generator.permutation(len(classes)))
    left = {label: generator.permutation(images[label]).tolist() for label in queue}
    batches = []
    while len(queue) >= batch_size // samples:
        members = [queue.popleft() for _ in range(batch_size // samples)]
        batches.append([left[label].pop(0) for label in members for _ in range(samples)])
        queue.extend(label for label in members if len(left[label]) >= samples)
    return batches


def hierarchical_epoch(
    labels: list[int],
    super_labels: list[int],
    batch_size: int,
    samples: int,
    batches_per_super_pair: int,
    nb_categories: int,
    seed: int,
) -> list[list[int]]:
    """Every pair of super-classes so many batches, in a shuffled order; whole classes from each, in turns."""
    generator = np.random.default_rng(np.random.default_rng(seed).integers(2**63, size=4))
    images: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, (label, super_label) in enumerate(zip(labels, super_labels, strict=True)):
        images[super_label][label].append(position)
    planned = [pair for pair in combinations(sorted(images), nb_categories) for _ in range(batches_per_super_pair)]
    batches = []
    for number in generator.permutation(len(planned)):
        shares = {}
        for super_label in planned[number]:
            classes = sorted(images[super_label])
            order = generator.permutation(len(classes))[: batch_size // nb_categories // samples]
            shares[super_label] = []
            for index in order:
                own = images[super_label][classes[index]]
                shares[super_label].append(generator.choice(own, samples, replace=len(own) < samples).tolist())
        batch: list[int] = []
        while any(shares.values()):
            for groups in shares.values():
                if groups:
                    batch += groups.pop(0)
        batches.append(batch)
    return batches
