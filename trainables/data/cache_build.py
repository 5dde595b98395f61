"""Builds a cache of pictures: decode, shrink, write, read back. Whole or not at all; one builder works at a time."""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms.v2 import functional

from trainables.data.cached_images import FORMAT, INDEX, META, PIXELS, ROW, CachedImages, CacheUnusable
from trainables.data.datasets import Progress
from trainables.data.files import FileImages, read_image
from trainables.data.loading import cores
from trainables.data.locks import alone
from trainables.errors import UserError

LIMIT = "ROADMAP_TUNE_CACHE_GB"
SAMPLED = 512  # files whose headers say how much space all of them need
BLOCK = 64  # pictures a core that are in memory at a time


def build(folder: Path, files: FileImages, rows: np.ndarray, side: int, progress: Progress) -> None:
    """Makes the cache of these rows of the files, where another process has not just made it.

    BadImage for a picture that cannot be decoded; UserError for too little space, before anything is written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{folder.name}.work")
    with alone(folder.with_name(f".{folder.name}.lock")):
        try:
            CachedImages(folder)
        except CacheUnusable:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return
        shutil.rmtree(work, ignore_errors=True)  # of a builder that was killed
        room = _room(folder, _estimate(files, rows, side))
        try:
            work.mkdir()
            _write(work, files, rows, side, room, progress)
            os.replace(work, folder)
        except CacheUnusable as error:
            raise UserError(f"dataset.cache=memmap reads back otherwise than it was written: {error}") from None
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise UserError(f"dataset.cache=memmap: {folder.parent} is full") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _write(work: Path, files: FileImages, rows: np.ndarray, side: int, room: int, progress: Progress) -> None:
    index = np.zeros(len(rows), dtype=ROW)
    written = 0
    with (work / PIXELS).open("wb") as file:
        for place, picture in enumerate(_pictures(files, rows, side)):
            height, width, _ = picture.shape
            index[place] = written, height, width, zlib.crc32(picture.data)
            written += picture.nbytes
            if written > room:
                raise UserError(f"dataset.cache=memmap: more than the {room / 1e9:.2f} GB that {work.parent} may hold")
            file.write(picture.data)
            progress("cache images", place + 1, len(rows))
        file.flush()
        os.fsync(file.fileno())
    np.save(work / INDEX, index)
    meta = {"format": FORMAT, "bytes": written, "index": hashlib.sha256(index.tobytes()).hexdigest()}
    (work / META).write_text(json.dumps(meta))
    CachedImages(work).check(range(len(rows)))


def _pictures(files: FileImages, rows: np.ndarray, side: int) -> Iterator[np.ndarray]:
    """Each (h, w, 3), in order, a block ahead of who writes it."""
    block = BLOCK * cores()
    pool = ThreadPoolExecutor(cores())  # decoders let go of the interpreter
    try:
        for start in range(0, len(rows), block):
            paths = [files.path(int(row)) for row in rows[start : start + block]]
            yield from pool.map(lambda path: shrunk(path, side), paths)
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption does not wait for the images that are left


def shrunk(path: Path, side: int) -> np.ndarray:
    """(h, w, 3) uint8: the shorter side `side`, or the picture as it is where it is not longer."""
    image = read_image(path)
    if min(image.shape[1:]) > side:
        image = functional.resize_image(image, [side])
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _estimate(files: FileImages, rows: np.ndarray, side: int) -> int:
    """Bytes of all pictures, from the sizes that the headers of some state."""
    found = []
    for row in rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLED).astype(np.int64))]:
        try:
            with Image.open(files.path(int(row))) as image:
                shorter, longer = sorted(image.size)
        except Exception:  # what is wrong with it is said when it is decoded
            continue
        by = min(1.0, side / shorter)
        found.append(3 * shorter * longer * by * by)
    return int(np.mean(found) * len(rows)) if found else 0


def _room(folder: Path, needed: int) -> int:
    """Bytes that the new cache may take. UserError where that is less than it needs."""
    free = shutil.disk_usage(folder.parent).free
    room, told = free, f"{free / 1e9:.2f} GB are free in {folder.parent}"
    if (limit := os.environ.get(LIMIT)) is not None:
        used = sum(path.stat().st_size for path in folder.parent.rglob("*") if path.is_file())
        if (left := _bytes(limit) - used) < free:
            room, told = left, f"{LIMIT}={limit} leaves {max(left, 0) / 1e9:.2f} GB in {folder.parent}"
    if needed > room:
        raise UserError(
            f"dataset.cache=memmap needs about {needed / 1e9:.2f} GB, {told}: dataset.cache=null does without"
        )
    return room


def _bytes(limit: str) -> int:
    try:
        gigabytes = float(limit)
        if not 0 <= gigabytes < float("inf"):
            raise ValueError
    except ValueError:
        raise UserError(f"{LIMIT}={limit!r} is not a number of gigabytes") from None
    return int(gigabytes * 1e9)
