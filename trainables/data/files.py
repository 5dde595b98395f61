"""Image files: every kind that people have becomes uint8 RGB, upright, transparent parts white."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from trainables.errors import UserError
from trainables.pictures import rgb

try:
    from torchvision.io import ImageReadMode, decode_image
except ImportError:  # torchvision 0.29 announces that its decoders will go; PIL's take a quarter longer
    decode_image = None


Used = TypeVar("Used")


class BadImage(UserError):
    """A file without a picture in it. `problem` is one of a few phrases that read on from the path."""

    def __init__(self, path: Path, problem: str, detail: str = "") -> None:
        super().__init__(path, problem, detail)  # the arguments again: an exception travels between processes as them
        self.path, self.problem, self.detail = path, problem, detail

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.path} {self.problem}{detail}; dataset.on_bad_image=skip leaves such images out"


def read_image(path: Path) -> Tensor:
    """(3, H, W) uint8 RGB, turned as its EXIF orientation says; of several frames the first. BadImage with the path.

    torchvision decodes JPEG in colour or grey; the rest is PIL's: torchvision leaves out alpha, and a damaged PNG can
    end the process in its decoder.
    """
    return opened(path, _pixels)


def opened(path: Path, use: Callable[[bytes, Image.Image], Used]) -> Used:
    """What `use` makes of the file's bytes and of the picture in them, not decoded yet. BadImage with the path."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BadImage(path, "is missing") from None
    except OSError as error:
        raise BadImage(path, "cannot be read", error.strerror or "") from None
    if not data:
        raise BadImage(path, "is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return use(data, image)
    except UnidentifiedImageError:
        raise BadImage(path, "is not an image") from None
    except Exception as error:  # a damaged file makes PIL raise whatever its bytes lead to
        told = (str(error).splitlines() or [""])[0]
        raise BadImage(path, "cannot be decoded", told or type(error).__name__) from None


def _pixels(data: bytes, image: Image.Image) -> Tensor:
    plain = decode_image is not None and image.format == "JPEG" and image.mode in ("RGB", "L")
    pixels = _decoded(data) if plain else None
    return torch.from_numpy(rgb(image)).permute(2, 0, 1) if pixels is None else pixels


def _decoded(data: bytes) -> Tensor | None:
    """torchvision's pixels; None where it gives up: PIL reads more, or says what is wrong."""
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    try:
        return decode_image(encoded, mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except RuntimeError:
        return None


class FileImages:
    """root / paths[row], decoded when asked for. An absolute path stands for itself."""

    in_memory = False

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root = root
        # one block of bytes: worker processes share it, which they could not with a list of strings
        self._paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> Tensor:
        return read_image(self.path(row))

    def listed(self, row: int) -> str:
        """The path as the manifest gives it."""
        return os.fsdecode(bytes(self._paths[row]))

    @property
    def listing(self) -> bytes:
        """Every path as the manifest gives it, in one piece."""
        return self._paths.tobytes()

    def path(self, row: int) -> Path:
        return Path(self._joined(row))

    def _joined(self, row: int) -> str:
        return os.path.join(self.root, self.listed(row))  # text: half a million Path objects take their time

    def stamp(self, row: int) -> tuple[str, int, int] | None:
        """(path as listed, size in bytes, time of the last change in ns); None where there is no such file."""
        try:
            status = os.stat(self._joined(row))
        except OSError:
            return None
        return self.listed(row), status.st_size, status.st_mtime_ns

    def missing(self) -> list[Path]:
        """The files that are not there; each folder is listed once, no file is asked for alone."""
        listed: dict[str, set[str]] = {}
        absent = []
        for row in range(len(self)):
            folder, name = os.path.split(self._joined(row))
            if folder not in listed:
                listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if name not in listed[folder]:
                absent.append(Path(folder, name))
        return absent
