"""Which images of a data set cannot be decoded: looked for by all cores, and left out where the user says so."""

import hashlib
import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from trainables.data.cache import Cached
from trainables.data.datasets import Progress, RetrievalDataset, data_root, image_sets
from trainables.data.files import BadImage, FileImages
from trainables.data.listing import FileDataset
from trainables.data.loading import cores
from trainables.data.splits import LabelledImages, RetrievalSplit
from trainables.errors import UserError

CHUNK = 64  # images that a thread takes at a time
Stamp = tuple[str, int, int]  # path as listed, size in bytes, time of the last change in ns


class Decoded:
    """The files that have been decoded whole before, one `[path, size, mtime]` a line; a torn line is dropped.

    Lines are appended, so an interrupted look goes on where it was. A bad file is not in it: it is tried again.
    """

    def __init__(self, folder: Path) -> None:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._file = data_root() / "decoded" / f"{name}.jsonl"
        self._stamps = set(self._read())

    def __contains__(self, stamp: Stamp) -> bool:
        return stamp in self._stamps

    def add(self, stamps: Iterable[Stamp]) -> None:
        lines = "".join(json.dumps(stamp) + "\n" for stamp in stamps)
        if not lines:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as file:
                file.write(lines)
        except OSError as error:
            told = f"{self._file} cannot be written ({error.strerror}): every image will be decoded again next time"
            logging.getLogger(__name__).warning(told)

    def _read(self) -> Iterable[Stamp]:
        try:
            lines = self._file.read_text(errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            try:
                path, size, changed = json.loads(line)
            except (ValueError, TypeError):
                continue
            yield path, size, changed


def bad_images(
    images: LabelledImages,
    progress: Progress | None = None,
    what: str = "decode images",
    decoded: Decoded | None = None,
) -> dict[int, UserError]:
    """Position -> what is wrong with that image. Decodes every image that `decoded` does not know."""
    if images.source.in_memory:
        return {}
    found: dict[int, UserError] = {}
    chunks = [range(start, min(start + CHUNK, len(images))) for start in range(0, len(images), CHUNK)]
    pool = ThreadPoolExecutor(cores())  # decoders let go of the interpreter
    try:
        looked = pool.map(lambda chunk: [_look(images, position, decoded) for position in chunk], chunks)
        for chunk, verdicts in zip(chunks, looked, strict=True):
            found |= {at: error for at, (error, _) in zip(chunk, verdicts, strict=True) if error is not None}
            if decoded is not None:
                decoded.add(stamp for _, stamp in verdicts if stamp is not None)
            if progress is not None:
                progress(what, chunk.stop, len(images))
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption does not wait for the images that are left
    return found


def _look(images: LabelledImages, position: int, decoded: Decoded | None) -> tuple[UserError | None, Stamp | None]:
    """(what is wrong, or None; the stamp of a file that has just been decoded)."""
    row = int(images.rows[position])
    stamp = None
    if decoded is not None and isinstance(images.source, FileImages):
        stamp = images.source.stamp(row)
        if stamp is not None and stamp in decoded:
            return None, None
    try:
        images.source[row]
    except UserError as error:
        return error, None
    return None, stamp


class Skipping:
    """A data set without the images that cannot be decoded: dataset.on_bad_image=skip.

    Each file is decoded once, before the first batch is planned; what was good is remembered by path, size and time.
    """

    def __init__(self, dataset: RetrievalDataset) -> None:
        self.dataset, self.folder = dataset, dataset.folder
        self.skipped: dict[str, list[UserError]] = {}  # set of images -> what was wrong with those left out
        self._kept: dict[str, LabelledImages] = {}

    def ensure(self, progress: Progress | None = None) -> None:
        """Decodes every file that is not known to be good."""
        with suppress(BadImage):  # an image that is missing is one to leave out
            self.dataset.ensure(progress)
        self._without_bad("train", self.dataset.train(), progress)
        for split in self.dataset.test():
            self._split(split, progress)

    def train(self) -> LabelledImages:
        return self._without_bad("train", self.dataset.train())

    def test(self) -> tuple[RetrievalSplit, ...]:
        return tuple(self._split(split) for split in self.dataset.test())

    @property
    def fingerprint(self) -> str:
        """Of all the files, those that are left out too."""
        return self.dataset.fingerprint

    def _split(self, split: RetrievalSplit, progress: Progress | None = None) -> RetrievalSplit:
        said = {key for key, value in vars(split).items() if value is not None}
        if said - {"name", "query", "gallery"}:
            return split  # a ground truth knows its images by position: none can be left out, a bad one is an error
        if split.gallery is None:
            return replace(split, query=self._without_bad(split.name, split.query, progress))
        query = self._without_bad(f"{split.name} query", split.query, progress)
        gallery = self._without_bad(f"{split.name} gallery", split.gallery, progress)
        return replace(split, query=query, gallery=gallery)

    def _without_bad(self, name: str, images: LabelledImages, progress: Progress | None = None) -> LabelledImages:
        if name not in self._kept:
            bad = bad_images(images, progress, f"decode {name} images", self._decoded)
            if len(bad) == len(images):
                raise UserError(f"no {name} image is left: {next(iter(bad.values()))}")
            kept = np.setdiff1d(np.arange(len(images)), list(bad))
            self.skipped[name] = list(bad.values())
            self._kept[name] = images.subset(kept) if bad else images
        return self._kept[name]

    @cached_property
    def _decoded(self) -> Decoded:
        return Decoded(self.folder)


def summary(dataset: RetrievalDataset) -> list[str]:
    """What is there, a line a set of images, next to what the complete data set has; and what was left out."""
    cached = dataset.summary() if isinstance(dataset, Cached) else None
    dataset = dataset.dataset if isinstance(dataset, Cached) else dataset
    whole = dataset.dataset if isinstance(dataset, Skipping) else dataset
    official = whole.official if isinstance(whole, FileDataset) else {}
    lines = []
    for name, images in image_sets(whole).items():
        classes = len(np.unique(images.labels))
        line = f"{len(images):,} {name} images of {classes:,} classes"
        if name in official:
            all_images, all_classes = official[name]
            complete = (len(images), classes) == (all_images, all_classes)
            line += " (complete)" if complete else f" (of {all_images:,} images of {all_classes:,} classes)"
        lines.append(line)
    if isinstance(whole, FileDataset) and whole.left_aside:
        first, count = whole.left_aside[0], len(whole.left_aside)
        lines.append(f"left aside as no pictures by their ending: {count:,}, such as {first}")
    if isinstance(dataset, Skipping):
        for name, bad in dataset.skipped.items():
            if bad:
                first, count = _told(bad[0]), len(bad)
                lines.append(f"left out of the {name} images: {count:,} that cannot be decoded, such as {first}")
    return lines if cached is None else [*lines, cached]


def _told(error: UserError) -> str:
    return f"{error.path} ({error.problem})" if isinstance(error, BadImage) else str(error)
