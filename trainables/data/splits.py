"""Labelled images, and the splits that retrieval is measured on. One type, always."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image
from torch import Tensor


class ImageSource(Protocol):
    """Where pixels come from: row -> uint8 (3, H, W). `in_memory`: decoded already, a row costs no more than a copy."""

    in_memory: bool

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Tensor: ...


@dataclass(frozen=True)
class LabelledImages:
    """n images of a source with their classes.

    rows (n,) int64 into the source; labels (n,) int64; super_labels (n,) int64 or None; class_names by label,
    super_names by super-label.
    """

    source: ImageSource
    rows: np.ndarray
    labels: np.ndarray
    super_labels: np.ndarray | None
    class_names: tuple[str, ...]
    super_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.rows.shape == self.labels.shape, "one label for each row"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def class_numbers(self) -> np.ndarray:
        """(n,) int64: 0 to C-1, the place of each label among the labels there are."""
        return np.unique(self.labels, return_inverse=True)[1]

    @property
    def num_classes(self) -> int:
        return len(np.unique(self.labels))

    def picture(self, position: int) -> Image.Image:
        """As its source has it: before any transform."""
        return Image.fromarray(self.source[int(self.rows[position])].permute(1, 2, 0).numpy())

    def subset(self, positions: np.ndarray) -> "LabelledImages":
        """The images at these positions, in this order."""
        super_labels = None if self.super_labels is None else self.super_labels[positions]
        return replace(self, rows=self.rows[positions], labels=self.labels[positions], super_labels=super_labels)


@dataclass(frozen=True)
class GroundTruth:
    """What is right for each query, where labels do not say it: gallery positions, int64, none in two of them.

    easy, hard: answers; junk: neither right nor wrong. A gallery image in none of the three is wrong.
    """

    easy: tuple[np.ndarray, ...]
    hard: tuple[np.ndarray, ...]
    junk: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        assert len(self.easy) == len(self.hard) == len(self.junk), "one of each for every query"


@dataclass(frozen=True)
class RetrievalSplit:
    """Queries and what they search; gallery None means the query set itself, the query left out.

    ground_truth: what decides instead of the labels, where there is one.
    """

    name: str
    query: LabelledImages
    gallery: LabelledImages | None
    ground_truth: GroundTruth | None = None
