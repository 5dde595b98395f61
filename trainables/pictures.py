"""Any picture that PIL opens as upright RGB, transparent parts white; numpy and PIL alone.

A trained network meets every picture as its training did, also where nothing else of this package is (`exported`).
"""

import numpy as np
from PIL import Image, ImageOps


def rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8, turned as its EXIF orientation says; of several frames the first. Raises what PIL raises."""
    image.load()
    image = _upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_grey_of_16_bits(image)[..., None], 3, axis=-1)
    if image.has_transparency_data:
        drawn = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    return np.array(image.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing; the picture is whole
        return image


def _grey_of_16_bits(image: Image.Image) -> np.ndarray:
    """(H, W) uint8: 0..65535 scaled to 0..255, not cut off."""
    values = np.asarray(image).astype(np.int64)
    # "I" holds 32 bits, and 16 of a format that has no more
    if image.mode == "F" or (image.mode == "I" and (values.min() < 0 or values.max() > 65535)):
        raise ValueError("32-bit pixels have no agreed black and white")
    grey = (values * 255 + 32767) // 65535
    if isinstance(see_through := image.info.get("transparency"), int):
        grey[values == see_through] = 255
    return grey.astype(np.uint8)
