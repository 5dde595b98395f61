"""Image files: one way to decode them, for every data set on disk."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from trainables.errors import UserError


class BadImage(UserError):
    """A file without a picture in it. `problem` is a phrase that reads on from the path."""

    def __init__(self, path: Path, problem: str, detail: str = "") -> None:
        super().__init__(path, problem, detail)  # the arguments again: an exception travels between processes as them
        self.path, self.problem, self.detail = path, problem, detail

    def __str__(self) -> str:
        return f"{self.path} {self.problem}" + (f" ({self.detail})" if self.detail else "")


def read_image(path: Path) -> Tensor:
    """(3, H, W) uint8, turned as its EXIF orientation says; BadImage with the path where it cannot be decoded."""
    try:
        return decode_image(str(path), mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except (OSError, RuntimeError) as error:
        raise BadImage(path, "cannot be decoded", str(error).splitlines()[0]) from None


class FileImages:
    """root / paths[row], decoded when asked for."""

    in_memory = False

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root, self._paths = root, tuple(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> Tensor:
        return read_image(self.path(row))

    def path(self, row: int) -> Path:
        return self.root / self._paths[row]

    def missing(self) -> list[Path]:
        """The files that are not there."""
        return [self.path(row) for row in range(len(self)) if not self.path(row).is_file()]
