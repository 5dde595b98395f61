"""Drawings -> 64 x 64 RGB on white, and which of them are the same picture twice."""

import io

import numpy as np
from PIL import Image

SIZE = 64  # pixels a side
MARGIN = 0.04  # of the side, left free around the drawing
NEAR_COPY = 3.0  # mean absolute difference, of 255
SMALLEST_SPREAD = 2.0  # standard deviation below which a picture is constant


def render(svg: str) -> np.ndarray | None:
    """uint8 (64, 64, 3): rendered at twice the size, cropped, centred; None if nothing is drawn."""
    import resvg_py

    try:
        data = resvg_py.svg_to_bytes(svg_string=svg, width=2 * SIZE, height=2 * SIZE)
    except ValueError:
        return None
    image = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    box = image.getchannel("A").getbbox()
    if box is None:
        return None
    drawing = image.crop(box)
    room = SIZE * (1 - 2 * MARGIN)
    scale = room / max(drawing.size)
    size = tuple(max(1, round(side * scale)) for side in drawing.size)
    # premultiplied, so that the colour of transparent pixels does not bleed into the edges
    small = drawing.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")  # type: ignore[arg-type]
    canvas = Image.new("RGBA", (SIZE, SIZE), "white")
    canvas.alpha_composite(small, ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
    pixels = np.asarray(canvas.convert("RGB"))
    return pixels if pixels.std() >= SMALLEST_SPREAD else None


def near_copies(pictures: list[np.ndarray]) -> list[bool]:
    """For each picture of one class, whether an earlier one that stays is nearly the same."""
    kept: list[np.ndarray] = []
    copies = []
    for picture in pictures:
        values = picture.astype(np.int16)
        copy = any(np.abs(values - other).mean() < NEAR_COPY for other in kept)
        copies.append(copy)
        if not copy:
            kept.append(values)
    return copies
