"""Files of events, one JSON line each: appended by one process at a time, whole or not at all."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from trainables.errors import UserError
from trainables.patience import Told, patiently

BLOCK = 64 * 1024  # bytes


def take(path: Path, taken: str) -> IO[str]:
    """A file of events, open for this process alone; UserError(taken) where another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(taken) from None
    _drop_torn_line(path)
    return file


def taken(path: Path) -> bool:
    """Whether a process of this machine has it by `take` now."""
    if not path.exists():
        return False
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def append(file: IO[str], event: str, told: Told = lambda error: None, **values: Any) -> dict[str, Any]:
    """The event as it was written; it is on disk when this returns. told: as `patiently` has it."""
    record = {"event": event, "at": round(time.time(), 3), **values}
    line, descriptor = (json.dumps(record) + "\n").encode(), file.fileno()
    end = os.fstat(descriptor).st_size

    def write() -> None:
        if os.fstat(descriptor).st_size != end:
            os.ftruncate(descriptor, end)  # what a full disk took of the line
        left = line
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)

    patiently(write, told)
    return record


class Replaced(Exception):
    """The file is not the one that was read before: another one, or shorter."""


class Reader:
    """A file of events, read as it grows: each time what has come since the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = (0, 0)  # device and inode
        self._at = self._lines = 0  # bytes and lines that have been read
        self._last = b""  # of those lines

    def new(self) -> Iterator[dict[str, Any]]:
        """What has come; half a line waits until it is whole. Replaced, before the first, where it is another file."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            if self._at:
                raise Replaced from None
            return
        with file:
            found = os.fstat(file.fileno())
            file.seek(self._at - len(self._last))
            if self._at and ((found.st_dev, found.st_ino) != self._file or file.read(len(self._last)) != self._last):
                raise Replaced
            self._file = (found.st_dev, found.st_ino)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                event = _event(self._path, self._lines + 1, line)
                self._at, self._lines, self._last = self._at + len(line), self._lines + 1, line
                yield event


def events(path: Path) -> Iterator[dict[str, Any]]:
    """What is in a file of events, but a torn last line."""
    return Reader(path).new()


def whole(path: Path) -> int:
    """Bytes of its whole lines; 0 where there is no file."""
    if not path.exists():
        return 0
    size = path.stat().st_size
    with path.open("rb") as file:
        torn = 0
        while torn < size:
            step = min(BLOCK, size - torn)
            file.seek(size - torn - step)
            end = file.read(step).rfind(b"\n")
            if end >= 0:
                return size - torn - step + end + 1
            torn += step
    return 0


def _event(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line.decode(errors="replace"))
        if not isinstance(event, dict) or not {"event", "at"} <= event.keys():
            raise ValueError
    except ValueError:
        raise UserError(f"{path}: line {number} is no event of a sweep") from None
    return event


def _drop_torn_line(path: Path) -> None:
    """A driver that died while writing leaves half a line; the event it was to record never took effect."""
    end = whole(path)
    if end != path.stat().st_size:
        os.truncate(path, end)
