"""Data sets of image files: a manifest says which files there are, of which class, in which split."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple, final

import numpy as np

from trainables.data.datasets import Progress, data_root
from trainables.data.files import BadImage, FileImages
from trainables.data.partition import hold_out
from trainables.data.sealing import check_unsealed
from trainables.data.splits import LabelledImages, RetrievalSplit
from trainables.errors import UserError

Listing = dict[str, "list[Entry]"]  # "train", and "test" or "query" with "gallery"
QUERY, GALLERY = "query", "gallery"


class Entry(NamedTuple):
    """One image: its file below the data set's folder, its class, its super-class."""

    path: str
    label: str
    super_label: str | None


class FileDataset(ABC):
    """Says where its manifest is (`needed`) and what it lists (`read`); the rest is the same for all.

    data_dir: the folder with its files (None: `data_root()/NAME`).
    """

    name: ClassVar[str]
    home: ClassVar[str]  # where its files come from, as a sentence goes on
    official: ClassVar[Mapping[str, tuple[int, int]]] = {}  # set -> (images, classes) of the complete data set

    def __init__(self, data_dir: str | None = None) -> None:
        if data_dir is not None and not isinstance(data_dir, str):
            raise UserError(f"{self.name}: data_dir must be the path of a folder, not {data_dir!r}")
        self.folder = data_root() / self.name if data_dir is None else Path(data_dir).expanduser()
        self.left_aside: list[str] = []  # files among the pictures that are none by their name, once they are listed

    @abstractmethod
    def needed(self) -> tuple[str, ...]:
        """Files and folders below `folder` without which nothing can be said."""

    @abstractmethod
    def read(self) -> Listing:
        """Every image of every split, in the manifest's order. All that is needed is there."""

    @final
    def ensure(self, progress: Progress | None = None) -> None:
        """UserError where the manifest or an image is not there. Builds nothing, opens no image."""
        source = next(iter(self._sets.values())).source
        assert isinstance(source, FileImages)
        missing = source.missing()
        if len(missing) == len(source):
            raise UserError(
                f"{self.name}: none of its {len(source):,} images is there, not even {missing[0]}: {self.home}"
            )
        if missing:
            raise BadImage(missing[0], "is missing", f"{len(missing):,} of {len(source):,} images of {self.name} are")

    @final
    def train(self) -> LabelledImages:
        """The train classes."""
        return self._sets["train"]

    @final
    def test(self) -> tuple[RetrievalSplit, ...]:
        """One split "test": the test classes among themselves, or the queries against the gallery."""
        check_unsealed(self.name)
        if QUERY in self._sets:
            return (RetrievalSplit("test", self._sets[QUERY], self._sets[GALLERY]),)
        return (RetrievalSplit("test", self._sets["test"], None),)

    @final
    @property
    def fingerprint(self) -> str:
        """sha256 over split, path, class, super-class and size in bytes of every image, in order; not over pixels."""
        digest = hashlib.sha256()
        for split, images in self._sets.items():
            assert isinstance(images.source, FileImages)
            supers = np.full(len(images), -1) if images.super_labels is None else images.super_labels
            for row, label, above in zip(images.rows, images.labels, supers, strict=True):
                stamp = images.source.stamp(int(row))
                path, size = images.source.listed(int(row)), "missing" if stamp is None else str(stamp[1])
                words = (split, path, images.class_names[label], str(above), size)
                digest.update("\t".join(words).encode(errors="surrogateescape") + b"\n")
        return digest.hexdigest()

    @cached_property
    def _sets(self) -> dict[str, LabelledImages]:
        for name in self.needed():
            if not (self.folder / name).exists():
                raise UserError(f"{self.name}: {self.folder / name} is missing: {self.home}")
        listing = self.read()
        for split, entries in listing.items():
            if not entries:
                raise UserError(f"{self.name}: there is no {split} image in {self.folder}: {self.home}")
        return _labelled(self.folder, listing)


def _labelled(folder: Path, listing: Listing) -> dict[str, LabelledImages]:
    """One source and one numbering of the classes for all splits, in the order in which they are listed."""
    everything = [entry for entries in listing.values() for entry in entries]
    classes = {name: number for number, name in enumerate(dict.fromkeys(entry.label for entry in everything))}
    supers = {name: number for number, name in enumerate(dict.fromkeys(entry.super_label for entry in everything))}
    labels = np.array([classes[entry.label] for entry in everything], dtype=np.int64)
    above = np.array([supers[entry.super_label] for entry in everything], dtype=np.int64)
    every = LabelledImages(
        FileImages(folder, [entry.path for entry in everything]),
        np.arange(len(everything)),
        labels,
        None if None in supers else above,
        tuple(classes),
        tuple(name for name in supers if name is not None),
    )
    ends = np.cumsum([len(entries) for entries in listing.values()])
    return dict(zip(listing, map(every.subset, np.split(every.rows, ends[:-1])), strict=True))


def manifest_lines(name: str, file: Path) -> list[tuple[int, str]]:
    """(number from 1, text) of every line that is not blank; UserError where the file is not text."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: {file} cannot be read as text: {error}") from None
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def split_by_class(name: str, entries: list[Entry], test_share: float, seed: int) -> Listing:
    """Train and test without a class in common, `test_share` of the classes (of each super-class) in test."""
    if not entries:
        return {"train": [], "test": []}
    labels = np.unique([entry.label for entry in entries], return_inverse=True)[1]
    known = [entry.super_label for entry in entries if entry.super_label is not None]
    above = np.unique(known, return_inverse=True)[1] if len(known) == len(entries) else None
    try:
        kept, held = hold_out(labels, above, test_share, seed)
    except UserError as error:
        raise UserError(f"{name}: no test classes: {error}") from None
    return {"train": [entries[position] for position in kept], "test": [entries[position] for position in held]}


def check_split_settings(name: str, test_share: float, split_seed: int) -> None:
    """UserError for a share that is not between 0 and 1, or a seed that is no whole number."""
    if isinstance(test_share, bool) or not isinstance(test_share, int | float) or not 0 < test_share < 1:
        raise UserError(f"{name}: test_share must be above 0 and below 1, not {test_share!r}")
    if isinstance(split_seed, bool) or not isinstance(split_seed, int) or split_seed < 0:
        raise UserError(f"{name}: split_seed must be a whole number from 0, not {split_seed!r}")
