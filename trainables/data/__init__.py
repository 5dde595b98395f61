"""Data sets, their splits, and how batches are made of them."""

from trainables.data.cache import Cached, short_side
from trainables.data.cub import CUB200
from trainables.data.datasets import RetrievalDataset, data_root, image_sets
from trainables.data.emoji import Emoji
from trainables.data.files import BadImage, FileImages, read_image
from trainables.data.folders import ClassFolders
from trainables.data.inaturalist import INaturalist
from trainables.data.inshop import InShop
from trainables.data.listing import FileDataset
from trainables.data.loading import TrainLoader, eval_batches, same_size
from trainables.data.partition import folds, hold_out
from trainables.data.samplers import BatchSampler, HierarchicalSampler, MPerClassSampler, RandomSampler
from trainables.data.sealing import TestSplitSealed, seal_test_splits
from trainables.data.sfm120k import Sfm120k
from trainables.data.sop import StanfordOnlineProducts
from trainables.data.sources import ArrayImages
from trainables.data.splits import GroundTruth, ImageSource, LabelledImages, RetrievalSplit
from trainables.data.tables import ImageTable
from trainables.data.transforms import UNEQUAL, BatchTransform, build_transform
from trainables.data.verification import Skipping, bad_images, summary

__all__ = [
    "CUB200",
    "UNEQUAL",
    "ArrayImages",
    "BadImage",
    "BatchSampler",
    "BatchTransform",
    "Cached",
    "ClassFolders",
    "Emoji",
    "FileDataset",
    "FileImages",
    "GroundTruth",
    "HierarchicalSampler",
    "INaturalist",
    "ImageSource",
    "ImageTable",
    "InShop",
    "LabelledImages",
    "MPerClassSampler",
    "RandomSampler",
    "RetrievalDataset",
    "RetrievalSplit",
    "Sfm120k",
    "Skipping",
    "StanfordOnlineProducts",
    "TestSplitSealed",
    "TrainLoader",
    "bad_images",
    "build_transform",
    "data_root",
    "eval_batches",
    "folds",
    "hold_out",
    "image_sets",
    "read_image",
    "same_size",
    "seal_test_splits",
    "short_side",
    "summary",
]
