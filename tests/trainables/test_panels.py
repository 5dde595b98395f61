"""Panels: a grid whose pixels are known, frames that are told apart by more than colour, words that fit."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from trainables import panels
from trainables.panels import BADGE, BORDER, CAPTION, EDGE, GAP, HEAD, LINE, MARGIN, Tile, clipped, draw


def plain(color: str, size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new("RGB", size, color)


def test_a_grid_has_its_tiles_where_they_belong() -> None:
    rows = [[Tile(plain("red")), Tile(plain("lime"))], [Tile(plain("blue"), "a\nb")]]
    panel = draw(rows, "title")
    assert panel.mode == "RGB"
    assert panel.size == (2 * MARGIN + 2 * EDGE + GAP, 2 * MARGIN + HEAD + 2 * EDGE + GAP + 2 * LINE)
    top, middle = MARGIN + HEAD, EDGE // 2
    assert panel.getpixel((MARGIN + middle, top + middle)) == (255, 0, 0)
    assert panel.getpixel((MARGIN + EDGE + GAP + middle, top + middle)) == (0, 255, 0)
    assert panel.getpixel((MARGIN + middle, top + EDGE + GAP + middle)) == (0, 0, 255)
    assert panel.getpixel((MARGIN + EDGE + GAP + middle, top + EDGE + GAP + middle)) == (255, 255, 255)
    words = np.asarray(panel)[top + EDGE + GAP + EDGE :, MARGIN : MARGIN + EDGE]
    assert (words < 128).any(), "the caption is there"


def test_queries_stand_apart_where_every_row_has_one() -> None:
    query, found = Tile(plain("red"), frame="query"), Tile(plain("red"), frame="right")
    assert draw([[query, found]]).width - draw([[found, found]]).width == GAP
    assert draw([[query, found], [found]]).width == draw([[found, found]]).width


def test_frames_are_told_apart_in_grey_too() -> None:
    tiles = [Tile(plain("white"), frame=frame) for frame in ("query", "right", "wrong")]
    squares = [np.asarray(panels._square(tile).convert("L")).astype(int) for tile in tiles]
    edges = [square[:BORDER].mean() for square in squares]
    assert edges[0] < edges[1] < edges[2], "black, blue, orange: each lighter than the one before"
    marks = [square[-BADGE:, -BADGE:] < 200 for square in squares]
    right, wrong = marks[1], marks[2]
    assert (right != wrong).mean() > 0.1, "a check is no cross"
    assert marks[0].mean() < 0.3, "a query has no mark"


@pytest.mark.parametrize("size", [(300, 30), (30, 300), (1, 1), (2000, 1500)])
def test_a_picture_of_any_shape_is_whole_and_centred(size: tuple[int, int]) -> None:
    square = np.asarray(panels._square(Tile(plain("blue", size), frame="query")))
    rows, columns = np.nonzero((square == (0, 0, 255)).all(-1))
    inner = EDGE - 2 * BORDER
    height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
    assert max(height, width) == inner
    assert width / height == pytest.approx(size[0] / size[1], rel=0.1)
    assert abs(int(rows.min()) + int(rows.max()) + 1 - EDGE) <= 1
    assert abs(int(columns.min()) + int(columns.max()) + 1 - EDGE) <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_of_every_mode_are_drawn(mode: str) -> None:
    assert draw([[Tile(Image.new(mode, (8, 8)))]]).mode == "RGB"


def test_what_is_transparent_is_white() -> None:
    square = panels._square(Tile(Image.new("RGBA", (8, 8), (255, 0, 0, 0))))
    assert square.getpixel((EDGE // 2, EDGE // 2)) == (255, 255, 255)


def test_words_that_do_not_fit_are_cut_and_say_so() -> None:
    font = ImageFont.load_default(CAPTION)
    assert clipped("cat", CAPTION, 160) == "cat"
    assert clipped(" a\t b ", CAPTION, 160) == "a b"
    for words in ("person in suit levitating: medium-light skin tone", "W" * 10_000, "i" * 10_000, "日本語" * 50):
        cut = clipped(words, CAPTION, 160)
        assert cut.endswith("…") and words.startswith(cut[:-1])
        assert font.getlength(cut) <= 160
        assert font.getlength(words[: len(cut)] + "…") > 160 - font.getlength(" "), "as much as fits"
    assert clipped("wide", CAPTION, 1) == "…"


def test_nothing_found_is_a_picture_too() -> None:
    panel = draw([[Tile(plain("red"), "photo.png", "query")]], "no neighbours at all in an empty index of pictures")
    assert panel.width == 2 * MARGIN + EDGE + GAP
    assert draw([]).size[0] > 0
