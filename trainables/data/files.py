"""Image files: one way to decode them, for every data set on disk."""

from pathlib import Path

from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from trainables.errors import UserError


def read_image(path: Path) -> Tensor:
    """(3, H, W) uint8, turned as its EXIF orientation says; UserError with the path where it cannot be decoded."""
    try:
        return decode_image(str(path), mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} cannot be decoded: {str(error).splitlines()[0]}") from None
