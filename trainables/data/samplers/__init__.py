"""Which images make a batch. A batch depends on the seed and the epoch alone."""

from trainables.data.samplers.base import BatchSampler
from trainables.data.samplers.hierarchical import HierarchicalSampler
from trainables.data.samplers.per_class import MPerClassSampler
from trainables.data.samplers.uniform import RandomSampler

__all__ = ["BatchSampler", "HierarchicalSampler", "MPerClassSampler", "RandomSampler"]
