"""Image sources: a decoded array that all processes of a machine share."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class ArrayImages:
    """A .npy of uint8 (N, H, W, 3), mapped into memory: every trial on the machine reads the same page cache.

    Travels to other processes as its path.
    """

    in_memory = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pixels: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        assert self.pixels.ndim == 4 and self.pixels.shape[-1] == 3 and self.pixels.dtype == np.uint8, path

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int) -> Tensor:
        # the copy is writable memory of this process, the map is neither
        return torch.from_numpy(np.array(self.pixels[row])).permute(2, 0, 1)

    def batch(self, rows: np.ndarray) -> Tensor:
        """(B, 3, H, W) uint8."""
        return torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2)

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]
