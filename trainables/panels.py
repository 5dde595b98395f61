"""Rows of small pictures as one picture: what a search found, right and wrong told apart by mark and colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

Frame = Literal["query", "right", "wrong"]

# pixels, for screens with two to a point
EDGE, BORDER, GAP, MARGIN = 160, 8, 16, 24
BADGE, STROKE, SMOOTH = 44, 5, 4
CAPTION, TITLE, LINE, HEAD = 20, 30, 28, 52
# Okabe and Ito's, which people who see few colours tell apart
COLORS: dict[Frame, str] = {"query": "#000000", "right": "#0072B2", "wrong": "#D55E00"}
# corners of the lines, in parts of the badge
MARKS: dict[Frame, tuple[tuple[tuple[float, float], ...], ...]] = {
    "query": (),
    "right": (((0.27, 0.53), (0.43, 0.69), (0.74, 0.34)),),
    "wrong": (((0.32, 0.32), (0.68, 0.68)), ((0.68, 0.32), (0.32, 0.68))),
}
INK, PAPER, QUIET = "#16202A", "#FFFFFF", "#E3E6EA"
ELLIPSIS = "…"


@dataclass(frozen=True)
class Tile:
    """A picture of any size and mode; a caption of any number of lines; what it is to the query, if there is one."""

    image: Image.Image
    caption: str = ""
    frame: Frame | None = None


def draw(rows: Sequence[Sequence[Tile]], title: str = "") -> Image.Image:
    """The tiles as a grid of squares on white, RGB: each picture whole and centred, words cut where they do not fit.

    Rows may differ in length. The first column stands apart where it holds the queries.
    """
    columns = max((len(row) for row in rows), default=0)
    apart = GAP if rows and all(row and row[0].frame == "query" for row in rows) else 0
    heights = [EDGE + LINE * max((len(tile.caption.splitlines()) for tile in row), default=0) for row in rows]
    width = 2 * MARGIN + columns * (EDGE + GAP) - GAP + apart
    top = MARGIN + (HEAD if title else 0)
    panel = Image.new("RGB", (width, top + sum(heights) + GAP * (len(rows) - 1) + MARGIN), PAPER)
    pen = ImageDraw.Draw(panel)
    if title:
        pen.text((MARGIN, MARGIN), clipped(title, TITLE, width - 2 * MARGIN), INK, _font(TITLE))
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = MARGIN + column * (EDGE + GAP) + (apart if column else 0)
            panel.paste(_square(tile), (left, top))
            for number, line in enumerate(tile.caption.splitlines()):
                place = (left + EDGE / 2, top + EDGE + 4 + number * LINE)
                pen.text(place, clipped(line, CAPTION, EDGE), INK, _font(CAPTION), anchor="ma")
        top += height + GAP
    return panel


def clipped(words: str, size: int, width: float) -> str:
    """As much of one line as `width` pixels hold, an ellipsis where some is missing."""
    words = " ".join(words.split())
    font = _font(size)
    if font.getlength(words) <= width:
        return words
    kept = words[: int(width)]  # no letter is narrower than a pixel
    while kept and font.getlength(kept + ELLIPSIS) > width:
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS


def _square(tile: Tile) -> Image.Image:
    """(EDGE, EDGE) RGB."""
    drawn = tile.image
    if drawn.has_transparency_data:
        drawn = drawn.convert("RGBA")
        drawn = Image.alpha_composite(Image.new("RGBA", drawn.size, PAPER), drawn)
    inner = EDGE - 2 * BORDER
    fitted = ImageOps.contain(drawn.convert("RGB"), (inner, inner), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (EDGE, EDGE), PAPER)
    square.paste(fitted, ((EDGE - fitted.width) // 2, (EDGE - fitted.height) // 2))
    pen = ImageDraw.Draw(square)
    if tile.frame is None:
        pen.rectangle((BORDER - 1, BORDER - 1, EDGE - BORDER, EDGE - BORDER), outline=QUIET)
        return square
    pen.rectangle((0, 0, EDGE - 1, EDGE - 1), outline=COLORS[tile.frame], width=BORDER - 2)
    if MARKS[tile.frame]:
        badge = _badge(tile.frame)
        square.paste(badge, (EDGE - BADGE, EDGE - BADGE), badge)
    return square


@cache
def _badge(frame: Frame) -> Image.Image:
    """(BADGE, BADGE) RGBA: the mark in white on the frame's colour, for a lower right corner."""
    edge, stroke = BADGE * SMOOTH, STROKE * SMOOTH
    badge = Image.new("RGBA", (edge, edge))
    pen = ImageDraw.Draw(badge)
    pen.rounded_rectangle((0, 0, edge, edge), edge // 4, COLORS[frame], corners=(True, False, False, False))
    for line in MARKS[frame]:
        corners = [(x * edge, y * edge) for x, y in line]
        pen.line(corners, PAPER, stroke, joint="curve")
        for x, y in (corners[0], corners[-1]):
            pen.ellipse((x - stroke / 2, y - stroke / 2, x + stroke / 2, y + stroke / 2), PAPER)
    return badge.resize((BADGE, BADGE), Image.Resampling.LANCZOS)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own: no file to find, alike on every machine."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built with FreeType"
    return font
