"""Emoji vendors: one class an emoji, its images the drawings of up to six vendors, its super-class the category.

A real retrieval data set of the shape of Stanford Online Products that every machine can build in a minute.
"""

import csv
import json
from pathlib import Path

import numpy as np

from trainables.data.datasets import Progress, data_root
from trainables.data.partition import hold_out
from trainables.data.sealing import check_unsealed
from trainables.data.sources import ArrayImages
from trainables.data.splits import LabelledImages, RetrievalSplit
from trainables.errors import UserError

FOLDER = "emoji-v2"  # raised with every change of what the build makes: an older folder is another data set
AGAIN = "move it away, and `roadmap-tune data build emoji` makes it anew"
TEST_SHARE = 0.5  # of the classes, of each super-class


class Emoji:
    """data_dir: the folder that holds `emoji-v2/` (None: `data_root()`). split_seed: which classes are test."""

    def __init__(self, data_dir: str | None = None, split_seed: int = 0) -> None:
        if isinstance(split_seed, bool) or not isinstance(split_seed, int) or split_seed < 0:
            raise UserError(f"emoji: split_seed must be a whole number from 0, not {split_seed!r}")
        self.folder = (data_root() if data_dir is None else Path(data_dir).expanduser()) / FOLDER
        self.split_seed = split_seed

    def ensure(self, progress: Progress | None = None) -> None:
        """Builds the data set where it is not there yet."""
        if not self.folder.exists():
            from trainables.data.emoji_build import build

            build(self.folder, progress or (lambda what, done, total: None))
        self._check()

    def train(self) -> LabelledImages:
        """The train classes, from which a sweep holds out its validation."""
        images = self._all()
        return images.subset(self._halves(images)[0])

    def test(self) -> tuple[RetrievalSplit, ...]:
        """The other half of the classes."""
        check_unsealed("emoji")
        images = self._all()
        return (RetrievalSplit("test", images.subset(self._halves(images)[1]), None),)

    @property
    def fingerprint(self) -> str:
        """sha256 of the pixels: equal data sets have equal ones."""
        self._check()
        return str(json.loads((self.folder / "meta.json").read_text())["sha256"])

    def _halves(self, images: LabelledImages) -> tuple[np.ndarray, np.ndarray]:
        return hold_out(images.labels, images.super_labels, TEST_SHARE, self.split_seed)

    def _all(self) -> LabelledImages:
        self._check()
        with (self.folder / "manifest.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        names, labels = np.unique([row["label"] for row in rows], return_inverse=True)
        super_names, super_labels = np.unique([row["super_label"] for row in rows], return_inverse=True)
        try:
            source = ArrayImages(self.folder / "images.npy")
        except ValueError:
            raise UserError(f"emoji: {self.folder / 'images.npy'} is damaged: {AGAIN}") from None
        if len(source) != len(rows):
            raise UserError(f"emoji: images.npy and manifest.csv in {self.folder} differ in length: {AGAIN}")
        return LabelledImages(
            source,
            np.arange(len(rows)),
            labels.astype(np.int64),
            super_labels.astype(np.int64),
            tuple(str(name) for name in names),
            tuple(str(name) for name in super_names),
        )

    def _check(self) -> None:
        for name in ("meta.json", "images.npy", "manifest.csv"):
            if not (self.folder / name).is_file():
                again = AGAIN if self.folder.exists() else "`roadmap-tune data build emoji` makes it"
                raise UserError(f"emoji: {self.folder / name} is missing: {again}")
