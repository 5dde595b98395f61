"""Data sets, their splits, and how batches are made of them."""

from trainables.data.emoji import Emoji
from trainables.data.loading import TrainLoader, eval_batches
from trainables.data.partition import folds, hold_out
from trainables.data.samplers import BatchSampler, HierarchicalSampler, MPerClassSampler, RandomSampler
from trainables.data.sfm120k import Sfm120k
from trainables.data.sources import ArrayImages
from trainables.data.splits import GroundTruth, ImageSource, LabelledImages, RetrievalSplit
from trainables.data.transforms import BatchTransform, build_transform

__all__ = [
    "ArrayImages",
    "BatchSampler",
    "BatchTransform",
    "Emoji",
    "GroundTruth",
    "HierarchicalSampler",
    "ImageSource",
    "LabelledImages",
    "MPerClassSampler",
    "RandomSampler",
    "RetrievalSplit",
    "Sfm120k",
    "TrainLoader",
    "build_transform",
    "eval_batches",
    "folds",
    "hold_out",
]
