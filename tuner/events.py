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


def events(path: Path) -> Iterator[dict[str, Any]]:
    """What is in a file of events, but a torn last line."""
    if not path.exists():
        return
    with path.open(errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith("\n"):
                yield _event(path, number, line)


def _event(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
        if not isinstance(event, dict) or not {"event", "at"} <= event.keys():
            raise ValueError
    except ValueError:
        raise UserError(f"{path}: line {number} is no event of a sweep") from None
    return event


def _drop_torn_line(path: Path) -> None:
    """A driver that died while writing leaves half a line; the event it was to record never took effect."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
