"""A sweep's log: what its launches said, in plain lines with times, and what Ray, its workers and libraries wrote.

runs/NAME/sweep.log; a resumed sweep goes on in it. Secrets of the environment are masked in what is written.
"""

import contextlib
import datetime
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tuner import secrets
from tuner.screen import plain

FILE = "sweep.log"
OURS = ("tuner", "trainables")  # loggers whose warnings people are to see
PLAIN = logging.Formatter("%(message)s")
COMMON = ("Checkpoint successfully created at: ",)  # of every epoch: the journal has it
RAYS = "sweep.log"  # our name among those that Ray hands its workers' lines to


class Logbook:
    """Appends lines; one that the disk does not take is lost, the sweep goes on."""

    def __init__(self, folder: Path) -> None:
        self._mask = secrets.Mask()
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        with contextlib.suppress(OSError):
            self._file = (folder / FILE).open("a", buffering=1, errors="backslashreplace")

    def write(self, text: str) -> None:
        """Each of its lines, with the time in front."""
        now = f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
        lines = "".join(f"{now} {line}\n" for line in map(plain, self._mask(text).splitlines()))
        if self._file is not None:
            with self._lock, contextlib.suppress(OSError):
                self._file.write(lines)

    def fileno(self) -> int | None:
        return None if self._file is None else self._file.fileno()

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()


@contextlib.contextmanager
def standard_error(book: Logbook) -> Iterator[IO[str]]:
    """Inside, what the process writes to standard error is in the book; gives the stream that leads to where it led.

    What Python does not write (Ray's core) has no time of ours and is not masked, but is there even if we are killed.
    """
    before, number = sys.stderr, book.fileno()
    try:
        direct = before.fileno() == 2 and number is not None
    except (OSError, ValueError):
        direct = False
    if not direct:
        yield before
        return
    assert number is not None
    before.flush()
    kept = os.dup(2)
    with open(kept, "w", buffering=1, encoding=before.encoding, errors="backslashreplace") as console:
        os.dup2(number, 2)
        sys.stderr = _Lines(book.write)
        try:
            yield console
        finally:
            sys.stderr.flush()
            sys.stderr = before
            os.dup2(kept, 2)


@contextlib.contextmanager
def listening(book: Logbook, tell: Callable[[str], None], also: Callable[[str], None] | None = None) -> Iterator[None]:
    """Inside, the book has what Ray's workers print and what libraries log.

    tell: of warnings of ours, which it writes into the book as well. also: of the rest, where that is asked for.
    """
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as workers
    from ray._private.worker import filter_autoscaler_events

    def noise(text: str) -> None:
        book.write(text)
        if also is not None:
            also(text)

    def printed(data: Mapping[str, Any]) -> None:
        who, lines = data.get("actor_name") or data.get("task_name") or "worker", data["lines"]
        if data["pid"] == "autoscaler":  # it describes the whole cluster every few seconds
            who, lines = "autoscaler", filter_autoscaler_events(lines)
        for line in lines:
            if not any(common in line for common in COMMON):
                noise(f"({who} pid={data['pid']}, ip={data['ip']}) {line}")

    workers.add_handler(RAYS, printed)
    loggers = [logging.getLogger(), logging.getLogger("ray")]
    before = [logger.handlers[:] for logger in loggers]
    for logger in loggers:
        logger.handlers = [_Records(tell, noise)]
    try:
        yield
    finally:
        workers.remove_handler(RAYS)
        for logger, handlers in zip(loggers, before, strict=True):
            logger.handlers = handlers


class _Records(logging.Handler):
    """Records of ours to people, those of others to the book."""

    def __init__(self, tell: Callable[[str], None], noise: Callable[[str], None]) -> None:
        super().__init__()
        self._tell, self._noise = tell, noise

    def emit(self, record: logging.LogRecord) -> None:
        text = PLAIN.format(record)  # Ray gives a format of its own to every handler
        if record.name.partition(".")[0] in OURS:
            self._tell(text)
        else:
            self._noise(f"{record.name} {record.levelname.lower()}: {text}")


class _Lines(io.TextIOBase):
    """A stream that hands whole lines on."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._hand, self._rest = write, ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._hand(line)
        return len(text)

    def flush(self) -> None:
        if self._rest:
            self._hand(self._rest)
            self._rest = ""
