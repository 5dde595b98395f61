"""A folder of pictures as a faiss index of an exported model's embeddings, and what is nearest in it to a photo.

index.faiss   inner products, which are cosines of rows of length 1; row n is the picture ids.json[n]
ids.json      paths below the pictures' folder
meta.json     the model's fingerprint, dimensions, counts, versions
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainables.console import Bars
from trainables.data.files import BadImage, opened
from trainables.data.folders import ENDINGS
from trainables.data.loading import cores
from trainables.errors import UserError, first_line
from trainables.evaluation import nearest_neighbours
from trainables.exported.card import PACKAGES, package_version
from trainables.exported.model import ExportedModel
from trainables.exported.place import check_place, replaced

FORMAT = "roadmap-tune index 1"
INDEX, IDS, META = "index.faiss", "ids.json", "meta.json"
FLAT = "Flat"
BATCH = 64
PROBED = 16  # one in so many of an inverted file's lists is searched
TRIED, NEAREST = 256, 10  # pictures on which another factory is compared with the flat one, and their neighbours


@dataclass(frozen=True)
class Built:
    """seconds: that reading and embedding took.

    found: what share of the nearest that are there the index finds, of TRIED pictures; None: flat, all of them.
    """

    count: int
    seconds: float
    unreadable: list[BadImage]
    left_aside: list[str]  # no pictures by their ending
    found: float | None


def build(model: ExportedModel, images: Path, out: Path, bars: Bars, factory: str = FLAT) -> Built:
    """Every picture below `images` into the index folder `out`, in the place of an earlier one.

    factory: of faiss. UserError where there is no picture, where none can be read, for a factory that faiss refuses.
    """
    check_out(out)
    index = _made(model.dims, factory)
    paths, left_aside = pictures(images)
    if not paths:
        raise UserError(f"there is no picture in {images}: {', '.join(ENDINGS)} are looked for, in its folders too")
    started = time.perf_counter()
    rows, kept, unreadable = _embedded(model, images, paths, bars)
    seconds = time.perf_counter() - started
    if not kept:
        raise UserError(f"none of the {len(paths):,} pictures in {images} can be read, such as {told(unreadable[0])}")
    _fill(index, rows, factory)
    found = None if factory == FLAT else _found(index, rows)
    meta = {
        "format": FORMAT,
        "model": str(model.folder.resolve()),
        "fingerprint": model.fingerprint,
        "images": str(images.resolve()),
        "dims": model.dims,
        "count": len(kept),
        "unreadable": [os.path.relpath(error.path, images) for error in unreadable],
        "factory": factory,
        "versions": [package_version(package) for package in (*PACKAGES, _faiss_package())],
    }
    with replaced(out) as made:
        import faiss

        faiss.write_index(index, str(made / INDEX))
        (made / IDS).write_text(json.dumps(kept, indent=0))
        (made / META).write_text(json.dumps(meta, indent=2) + "\n")
    return Built(len(kept), seconds, unreadable, left_aside, found)


class PictureIndex:
    """An index on disk. UserError where the folder holds none, or one that names what is not below its pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            meta = json.loads((folder / META).read_text())
            self.ids: list[str] = json.loads((folder / IDS).read_text())
            if meta["format"] != FORMAT:
                raise UserError(f"{folder} is {meta['format']!r}, and this version reads {FORMAT!r}")
            self.model, self.images, self.fingerprint = Path(meta["model"]), Path(meta["images"]), meta["fingerprint"]
            outside = [name for name in self.ids if not _is_below(name)]
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{folder} is not an index of `roadmap-tune index`: {first_line(error)}") from None
        if outside:
            raise UserError(f"{folder / IDS} names a file that is not below the indexed folder: {outside[0]!r}")

    def check_model(self, model: ExportedModel) -> None:
        """UserError where another model made the index."""
        if model.fingerprint != self.fingerprint:
            raise UserError(
                f"{self.folder} was made by another model (fingerprint {self.fingerprint[:12]}) than {model.folder} "
                f"({model.fingerprint[:12]}): index the pictures again with this one"
            )

    def search(self, rows: np.ndarray, k: int) -> list[list[tuple[float, str]]]:
        """(N, D) -> for each row the k nearest pictures, or all there are: (cosine, path below `images`), falling."""
        import faiss

        try:
            index = faiss.read_index(str(self.folder / INDEX))
        except RuntimeError as error:
            raise UserError(f"{self.folder / INDEX} cannot be read: {first_line(error)}") from None
        if index.d != rows.shape[1] or index.ntotal != len(self.ids):
            raise UserError(f"{self.folder}: {INDEX} and {IDS} are not of one index")
        cosines, numbers = index.search(rows, min(k, len(self.ids)))
        return [
            [(float(cosine), self.ids[number]) for cosine, number in zip(*row, strict=True) if number >= 0]
            for row in zip(cosines, numbers, strict=True)
        ]


def check_out(folder: Path) -> None:
    """UserError where the folder is there and holds something else than an index."""
    check_place(folder, "an index", lambda there: (there / META).is_file() and (there / IDS).is_file())


def pictures(folder: Path) -> tuple[list[str], list[str]]:
    """Paths below the folder, sorted: those of pictures by their ending, and the rest. Hidden names are left out."""
    paths: list[str] = []
    seen = {os.path.realpath(folder)}  # links to folders are followed, each folder once
    for place, below, names in os.walk(folder, onerror=_unlisted, followlinks=True):
        real = {name: os.path.realpath(os.path.join(place, name)) for name in sorted(below)}
        below[:] = [name for name, there in real.items() if not name.startswith(".") and there not in seen]
        seen |= {real[name] for name in below}
        paths += [os.path.relpath(os.path.join(place, name), folder) for name in names if not name.startswith(".")]
    paths.sort()
    is_picture = [os.path.splitext(path)[1].lower() in ENDINGS for path in paths]
    return (
        [path for path, wanted in zip(paths, is_picture, strict=True) if wanted],
        [path for path, wanted in zip(paths, is_picture, strict=True) if not wanted],
    )


def told(error: BadImage) -> str:
    """The file and what is wrong with it."""
    return f"{shown(str(error.path))} {error.problem}" + (f" ({error.detail})" if error.detail else "")


def shown(name: str) -> str:
    """A path for a screen: what is no letter there, or would command a terminal, is a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _unlisted(error: OSError) -> None:
    raise UserError(f"the folder {shown(str(error.filename))} cannot be listed: {error.strerror}") from None


def _is_below(name: str) -> bool:
    normal = os.path.normpath(name)
    return not os.path.isabs(normal) and normal.split(os.sep)[0] != os.pardir


def _embedded(
    model: ExportedModel, images: Path, paths: Sequence[str], bars: Bars
) -> tuple[np.ndarray, list[str], list[BadImage]]:
    """(N, D) rows and the paths of the N that could be read, in order; and those that could not."""
    rows = np.empty((len(paths), model.dims), np.float32)
    kept: list[str] = []
    unreadable: list[BadImage] = []
    done = 0
    for batch in _shaped(model, images, paths):
        read = [(path, one) for path, one in batch if not isinstance(one, BadImage)]
        unreadable += [one for _, one in batch if isinstance(one, BadImage)]
        rows[len(kept) : len(kept) + len(read)] = model.rows([pixels for _, pixels in read])
        kept += [path for path, _ in read]
        done += len(batch)
        bars.update("embed", done, len(paths))
    return rows[: len(kept)], kept, unreadable


def _shaped(
    model: ExportedModel, images: Path, paths: Sequence[str]
) -> Iterator[list[tuple[str, "np.ndarray | BadImage"]]]:
    """BATCH pictures at a time as the model takes them; the next ones are decoded while these are embedded."""

    def read(path: str) -> "np.ndarray | BadImage":
        try:
            return opened(images / path, lambda data, image: model.shaped(image))
        except BadImage as error:
            return error

    parts = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    with ThreadPoolExecutor(cores()) as pool:
        ahead: list[Future[np.ndarray | BadImage]] = [pool.submit(read, path) for path in parts[0]]
        for part, after in zip(parts, [*parts[1:], []], strict=True):
            now, ahead = ahead, [pool.submit(read, path) for path in after]
            yield [(path, one.result()) for path, one in zip(part, now, strict=True)]


def _made(dims: int, factory: str) -> Any:
    import faiss

    try:
        return faiss.index_factory(dims, f"IDMap2,{factory}", faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UserError(
            f"--factory={factory!r}: faiss refuses it for {dims} dimensions: {_faiss_says(error)}"
        ) from None


def _fill(index: Any, rows: np.ndarray, factory: str) -> None:
    import faiss

    try:
        if not index.is_trained:
            index.train(rows)
        index.add_with_ids(rows, np.arange(len(rows)))
    except RuntimeError as error:
        raise UserError(f"--factory={factory!r}, of {len(rows):,} rows: faiss says {_faiss_says(error)}") from None
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.nprobe = -(-inverted.nlist // PROBED)


def _found(index: Any, rows: np.ndarray) -> float:
    """Of the nearest that an exact search finds for some of the rows, the share that this index finds."""
    tried = rows[np.unique(np.linspace(0, len(rows) - 1, TRIED).round().astype(int))]
    exact = nearest_neighbours(tried, rows, min(NEAREST, len(rows)))[1]
    numbers = index.search(tried, exact.shape[1])[1]
    return float(np.mean([len(set(own) & set(right)) / len(right) for own, right in zip(numbers, exact, strict=True)]))


def _faiss_says(error: RuntimeError) -> str:
    """Without the C++ around it."""
    return first_line(error).rpartition(": ")[2]


def _faiss_package() -> str:
    from importlib.metadata import packages_distributions

    return packages_distributions().get("faiss", ["faiss"])[0]


def open_photo(path: Path) -> Image.Image:
    """The picture in a file, decoded. UserError where there is none."""
    try:
        return opened(path, lambda data, image: image.copy())
    except BadImage as error:
        raise UserError(told(error)) from None
