"""Progress of long work: a bar on a terminal for each that works, plain lines now and then in a log."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 15.0
LINES_AT_A_TIME = 5  # in so many seconds, where more work at once


def on_terminal(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that can be drawn on. FORCE_COLOR makes none of a file."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


@dataclass
class _Bar:
    what: str
    task: TaskID
    begun: int  # pieces that were done when it was first heard of
    started: float  # monotonic seconds, as `said`
    said: float


class Bars:
    """`update(what, done, total)` from anywhere in the work; `line(text)` for what stays on the screen."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        stream = stream or sys.stderr
        drawn = on_terminal(stream)  # there lines are broken between words, elsewhere never
        self._console = Console(file=stream, force_terminal=drawn, highlight=False, soft_wrap=not drawn)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bars: dict[str, _Bar] = {}  # by who works

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, what: str, done: int, total: int, of: str = "") -> None:
        """`done` of `total` pieces of `what`; a new `what` starts a new bar. of: who works, where several do."""
        now, named = time.monotonic(), f"{of}: {what}" if of else what
        bar = self._bars.get(of)
        if bar is None or bar.what != what:
            self.end(of)
            task = self._progress.add_task(named, completed=done, total=total, rate="")
            bar = self._bars[of] = _Bar(what, task, done, now, now)
        rate = (done - bar.begun) / max(now - bar.started, 1e-9)
        told = f", {rate:.1f}/s, about {(total - done) / rate:.0f} s left" if rate > 0 else ""
        self._progress.update(bar.task, completed=done, total=total, rate=f"{rate:.1f}/s" if rate > 0 else "")
        between = SECONDS_BETWEEN_LINES * max(1.0, len(self._bars) / LINES_AT_A_TIME)
        if not self._console.is_terminal and now - bar.said > between:
            bar.said = now
            self.line(f"{named}: {done}/{total}{told}")

    def end(self, of: str = "") -> None:
        """Who works no longer has no bar."""
        bar = self._bars.pop(of, None)
        if bar is not None:
            self._progress.remove_task(bar.task)

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
