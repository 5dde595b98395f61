"""A terminal to look at: a pseudo-terminal of a given size whose output pyte draws."""

import fcntl
import os
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pyte


class Terminal:
    """stream: to write on. `lines()`: what it shows now. `scrolled`: how many lines have left it at the top."""

    def __init__(self, columns: int, lines: int) -> None:
        self._master, slave = os.openpty()
        self.stream: IO[str] = open(slave, "w", buffering=1)  # noqa: SIM115
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self._feed = pyte.ByteStream(self._screen)
        self.written = b""
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def lines(self) -> list[str]:
        """Without empty ones at the bottom."""
        self.stream.flush()
        while select.select([self._master], [], [], 0.05)[0]:
            piece = os.read(self._master, 1 << 16)
            self.written += piece
            self._feed.feed(piece)
        shown = [line.rstrip() for line in self._screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def scrolled(self) -> int:
        return len(self._screen.history.top)

    def colours(self) -> set[str]:
        """Of the characters that it shows."""
        self.lines()
        return {cell.fg for row in self._screen.buffer.values() for cell in row.values() if cell.data.strip()}

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@contextmanager
def terminal(columns: int, lines: int = 24) -> Iterator[Terminal]:
    opened = Terminal(columns, lines)
    try:
        yield opened
    finally:
        opened.close()
