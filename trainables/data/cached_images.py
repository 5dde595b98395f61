"""A cache of pictures as it lies in its folder: checked when it is opened, mapped, never copied whole."""

import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PIXELS, INDEX, META = "pixels.u8", "index.npy", "meta.json"
FORMAT = 1  # raised with every change of what the build makes
SAMPLED = 32  # pictures whose checksum is looked at when a cache is opened
ROW = np.dtype([("offset", np.int64), ("height", np.int32), ("width", np.int32), ("checksum", np.uint32)])


class CacheUnusable(Exception):
    """There is no cache in a folder, or not the one that was written."""


class CachedImages:
    """row -> a copy of its pixels, (3, H, W) uint8. Travels to other processes as its folder.

    CacheUnusable where a file is missing or cut short, the index is another, or a picture of a sample is.
    """

    in_memory = False  # shaping a photograph takes long enough to be worth a process

    def __init__(self, folder: Path, sampled: int = SAMPLED) -> None:
        self.folder = folder
        try:
            meta = json.loads((folder / META).read_text())
            self._index: np.ndarray = np.load(folder / INDEX, allow_pickle=False)
            self._pixels: np.ndarray = np.memmap(folder / PIXELS, mode="r", dtype=np.uint8)
        except (OSError, ValueError, EOFError) as error:
            raise CacheUnusable(f"{folder}: {error}") from None
        self.size = len(self._pixels)  # bytes
        written = {"format": FORMAT, "bytes": self.size, "index": hashlib.sha256(self._index.tobytes()).hexdigest()}
        if meta != written:
            raise CacheUnusable(f"{folder}: its files are not those that were written")
        self.check(np.unique(np.linspace(0, len(self) - 1, sampled).astype(np.int64)))

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, row: int) -> Tensor:
        # the copy is writable memory of this process, the map is neither
        return torch.from_numpy(np.array(self._mapped(row))).permute(2, 0, 1)

    def check(self, rows: Iterable[int]) -> None:
        """CacheUnusable where one of these pictures is not what was written."""
        for row in rows:
            if zlib.crc32(self._mapped(row).data) != self._index["checksum"][row]:
                raise CacheUnusable(f"{self.folder}: picture {row} is damaged")

    def _mapped(self, row: int) -> np.ndarray:
        offset, height, width, _ = self._index[row].item()
        return self._pixels[offset : offset + 3 * height * width].reshape(height, width, 3)

    def __getstate__(self) -> dict[str, Path]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]
