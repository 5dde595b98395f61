"""A thread that writes what it is told, in order, to a store that may be away for a while."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from trainables.errors import first_line

SECONDS_TO_GATHER = 0.25  # items that come soon after another are written with it, and not while who told it works
ATTEMPTS, SECONDS_BETWEEN, SECONDS_BETWEEN_AT_MOST = 4, 0.5, 5.0

Job = Callable[[], None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class TrackingSummary:
    """What became of the writes."""

    written: int
    failed: int
    first_error: str


@dataclass(frozen=True)
class _Part(Generic[Item]):
    item: Item


class Writer(Generic[Item]):
    """Does jobs one after another; items that wait side by side are written together.

    A job that fails is tried again until it is done while the store `takes_writes` no longer; a few times where it does
    and refuses this one alone. Of items that it refuses together each is tried alone. trouble: called with the first
    error, in one line.
    """

    def __init__(
        self,
        write_items: Callable[[Sequence[Item]], None],
        takes_writes: Callable[[], bool],
        trouble: Callable[[str], None],
    ) -> None:
        self._write_items, self._takes_writes, self._trouble = write_items, takes_writes, trouble
        self._jobs: queue.Queue[Job | _Part[Item] | None] = queue.Queue()
        self._written = self._failed = 0
        self._first_error = ""
        self._abandoned, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self.doubtful = False  # the store may have done what it did not answer to

    def start(self) -> None:
        self._thread.start()

    def do(self, job: Job) -> None:
        self._jobs.put(job)

    def add(self, item: Item) -> None:
        self._jobs.put(_Part(item))

    @property
    def waiting(self) -> int:
        """How many writes are yet to begin."""
        return self._jobs.qsize()

    def close(self, seconds: float) -> TrackingSummary:
        """Writes what waits, for so long; what waits then counts as failed."""
        self._jobs.put(None)
        self._closing.set()
        self._thread.join(seconds)
        failed = self._failed
        if self._thread.is_alive():
            self._abandoned.set()
            failed += self._jobs.qsize()
            self._first_error = self._first_error or f"not answered within {seconds:g} s"
        return TrackingSummary(self._written, failed, self._first_error)

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._abandoned.is_set():
            job = self._jobs.get()
            items: list[Item] = []
            if isinstance(job, _Part):
                self._closing.wait(SECONDS_TO_GATHER)
            while isinstance(job, _Part):
                items.append(job.item)
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            if items:
                self._attempt_items(items)
            if job is None:
                return
            if not isinstance(job, _Part):
                self._attempt(job)

    def _attempt_items(self, items: Sequence[Item]) -> None:
        if len(items) == 1:
            self._attempt(lambda: self._write_items(items))
        elif not self._done(lambda: self._write_items(items)):
            for item in items:
                self._attempt(lambda item=item: self._write_items([item]))  # type: ignore[misc]

    def _attempt(self, job: Job) -> None:
        self._failed += not self._done(job)

    def _done(self, job: Job) -> bool:
        """Whether the store took it, in the end."""
        tries = refusals = 0
        while refusals < ATTEMPTS and not self._abandoned.is_set():
            try:
                job()
                self._written += 1
                self.doubtful = False
                return True
            except Exception as error:  # whatever the store's client raises, the sweep goes on
                self._tell(f"{type(error).__name__}: {first_line(error)}")
                self.doubtful = True
                refusals += self._takes_writes()
                self._abandoned.wait(min(SECONDS_BETWEEN * 2**tries, SECONDS_BETWEEN_AT_MOST))
                tries += 1
        return False

    def _tell(self, text: str) -> None:
        if not self._first_error:
            self._first_error = text
            self._trouble(text)
