"""Progress of long work: one bar on a terminal, a plain line now and then in a log."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 15.0


def on_terminal(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that can be drawn on. FORCE_COLOR makes none of a file."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


class Bars:
    """`update(what, done, total)` from anywhere in the work; `line(text)` for what stays on the screen."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        stream = stream or sys.stderr
        drawn = on_terminal(stream)  # there lines are broken between words, elsewhere never
        self._console = Console(file=stream, force_terminal=drawn, highlight=False, soft_wrap=not drawn)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._what = ""
        self._started = self._said = time.monotonic()

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, what: str, done: int, total: int) -> None:
        """`done` of `total` pieces of `what`; a new `what` starts a new bar."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._started, self._said = what, now, now
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(what, total=total, rate="")
        assert self._task is not None
        rate = done / max(now - self._started, 1e-9)
        self._progress.update(self._task, completed=done, total=total, rate=f"{rate:.1f}/s")
        if not self._console.is_terminal and now - self._said > SECONDS_BETWEEN_LINES:
            self._said = now
            left = f", {rate:.1f}/s, about {(total - done) / rate:.0f} s left" if done else ""
            self.line(f"{what}: {done}/{total}{left}")

    def line(self, text: str) -> None:
        self._console.print(text, markup=False)


def readable_size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def near(path: Path) -> str:
    """As one would name it from the working folder: relative where it lies below."""
    full = path.absolute()
    return str(full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full)
