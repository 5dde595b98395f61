"""What every data set of this project is, and where data sets live on a machine."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import platformdirs

from trainables.data.splits import LabelledImages, RetrievalSplit

Progress = Callable[[str, int, int], None]  # (what, done, total)


def data_root() -> Path:
    """$ROADMAP_TUNE_DATA, or the user's cache folder."""
    named = os.environ.get("ROADMAP_TUNE_DATA")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("roadmap-tune"))


class RetrievalDataset(Protocol):
    """Train and test classes. The constructor touches no file: what is missing is told by the first of these calls."""

    folder: Path

    def ensure(self, progress: Progress | None = None) -> None:
        """UserError where the files are not there; what can be made here is made."""

    def train(self) -> LabelledImages:
        """The train split, from which validation is held out."""

    def test(self) -> tuple[RetrievalSplit, ...]:
        """The test splits."""

    @property
    def fingerprint(self) -> str:
        """Equal data sets have equal ones."""


def image_sets(dataset: RetrievalDataset) -> dict[str, LabelledImages]:
    """Every set of images by name: "train", then "test", or "test query" and "test gallery"."""
    found = {"train": dataset.train()}
    for split in dataset.test():
        if split.gallery is None:
            found[split.name] = split.query
        else:
            found[f"{split.name} query"], found[f"{split.name} gallery"] = split.query, split.gallery
    return found
