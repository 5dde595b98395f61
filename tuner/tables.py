"""Tables of a terminal's width: names are cut in their middle and the columns that matter least are left out."""

import shutil
import textwrap
from collections.abc import Sequence
from typing import IO

from trainables.console import on_terminal

GAP = 2  # spaces between two columns
NAMES = (1000, 16, 12, 10, 9)  # to how many characters names are cut, one after the other
LEAST = 12  # characters of a text that is cut at its end; with fewer it says nothing

Rows = Sequence[Sequence[str]]


def columns(stream: IO[str]) -> int | None:
    """How wide a table may be: of a terminal, without the last column; elsewhere None."""
    return shutil.get_terminal_size().columns - 1 if on_terminal(stream) else None


def fit(rows: Rows, width: int | None, order: Sequence[int], names: Sequence[int], text: int) -> tuple[Rows, list[str]]:
    """The rows as they fit into `width` characters (None: any number), and the names of the columns left out.

    order: the columns that may be left out, the first one first. names: those whose names may be cut. text: the one
    whose cells may be cut.
    """
    if width is None or _width(rows) <= width:
        return rows, []
    for left_out in range(len(order) + 1):
        kept = [column for column in range(len(rows[0])) if column not in order[:left_out]]
        for limit in NAMES:
            head, *cells = [[row[column] for column in kept] for row in rows]
            tried = [[cut(name, limit) if at in names else name for at, name in zip(kept, head, strict=True)], *cells]
            if text in kept:
                tried = _cut_text(tried, kept.index(text), width)
            if _width(tried) <= width:
                break
        if _width(tried) <= width:
            break
    return tried, [rows[0][column] for column in sorted(order[:left_out])]


def cut(name: str, length: int) -> str:
    """CalibrationLoss.weight -> Calibra….weight: both ends tell names apart."""
    if len(name) <= length:
        return name
    end = (length - 1) // 2
    return f"{name[: length - 1 - end]}…{name[len(name) - end :]}"


def cut_end(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: max(0, length - 1)]}…"


def left_out_line(names: Sequence[str], width: int | None, where: str) -> list[str]:
    """Says that columns are left out, and where they are; nothing where none is."""
    if not names or width is None:
        return []
    return textwrap.wrap(f"left out to fit: {', '.join(names)}; {where}", width)


def widths(rows: Rows) -> list[int]:
    """Of the columns, in characters."""
    return [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]


def _width(rows: Rows) -> int:
    return sum(widths(rows)) + GAP * (len(rows[0]) - 1)


def _cut_text(rows: list[list[str]], column: int, width: int) -> list[list[str]]:
    """Its cells have what the other columns leave; where that is too little, they stay as they are."""
    room = width - (_width(rows) - widths(rows)[column])
    if room < LEAST:
        return rows
    return [[*row[:column], cut_end(row[column], room), *row[column + 1 :]] for row in rows]
