"""A picture at the bottom of a terminal that is drawn again in its place, and lines that stay above it."""

import io
import math
import os
import re
import textwrap
import threading
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.text import Text

from trainables.console import on_terminal

USUAL = os.terminal_size((80, 24))
# a terminal that knows this shows what is between the two at once; others ignore it
AT_ONCE, SHOWN = "\x1b[?2026h", "\x1b[?2026l"
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
TO_END_OF_LINE, TO_END_OF_SCREEN = "\x1b[K", "\x1b[J"


def plain(text: str) -> str:
    """Without colours and all else that a terminal obeys: a library's error repeats what stands in a file."""
    return CODES.sub("", text)


class Screen:
    """One stream. live: whether it is a terminal that can be drawn on; elsewhere lines are all there is.

    Colours are those of the terminal, and none where NO_COLOR is set.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.live = on_terminal(stream)
        self._lengths: list[int] = []  # of the lines of the picture that is there, in characters
        self._picture = ""  # what is there
        self._columns = 0  # of the terminal when it was drawn
        self._lock = threading.RLock()  # MLflow's thread has things to say, too

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines, as they are now."""
        try:
            found = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return USUAL
        return found if found.columns and found.lines else USUAL

    def draw(self, lines: Sequence[Text]) -> None:
        """The picture from here on; what does not fit into the terminal is cut off. One write, no blank in between."""
        columns, rows = self.size
        shown = [line.copy() for line in lines[: rows - 1]]
        for line in shown:
            line.truncate(columns - 1, overflow="ellipsis")
        coloured = self._coloured(shown, columns)
        with self._lock:
            self._write(self._back() + self._set(coloured, [line.cell_len for line in shown]))

    def line(self, text: str) -> None:
        """A line that stays, above the picture; broken between words where the terminal is narrower."""
        text = plain(text)
        if not self.live:
            with self._lock:
                self._write(f"{text}\n")
            return
        broken = textwrap.wrap(
            text, self.size.columns - 1, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        above = "".join(f"{part}{TO_END_OF_LINE}\n" for part in broken or [""])
        with self._lock:
            self._write(self._back() + above + self._picture + TO_END_OF_SCREEN)

    def end(self) -> None:
        """The picture goes, the lines stay."""
        with self._lock:
            if self._lengths:
                self._write(self._back() + TO_END_OF_SCREEN)
            self._lengths, self._picture = [], ""

    def _set(self, coloured: list[str], lengths: list[int]) -> str:
        self._picture, self._lengths = "".join(f"{line}{TO_END_OF_LINE}\n" for line in coloured), lengths
        return self._picture + TO_END_OF_SCREEN

    def _back(self) -> str:
        """To the picture's first line: a terminal that has become narrower has broken the longer ones.

        What it has broken it would join again, unless all of that is erased.
        """
        columns, before = self.size.columns, self._columns
        self._columns = columns
        rows = sum(max(1, math.ceil(length / columns)) for length in self._lengths)
        return f"\r\x1b[{rows}A{TO_END_OF_SCREEN if columns != before else ''}" if rows else ""

    def _coloured(self, lines: Sequence[Text], columns: int) -> list[str]:
        """With the colours that the terminal has; NO_COLOR is rich's to respect."""
        into = io.StringIO()
        console = Console(file=into, force_terminal=self.live, width=columns, highlight=False)
        for line in lines:
            console.print(line, no_wrap=True)
        return into.getvalue().splitlines()

    def _write(self, text: str) -> None:
        self._stream.write(f"{AT_ONCE}{text}{SHOWN}" if self.live else text)
        self._stream.flush()
