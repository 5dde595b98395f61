"""A sweep in S3: its journal is written to the driver's own disk, as any, and copied to the bucket while it grows.

Nothing waits for the copy but the removal of what it no longer names. A machine with the sweep file alone fetches it.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainables import bucket
from trainables.errors import UserError
from trainables.patience import SECONDS_BETWEEN, Told, patiently
from tuner import places
from tuner.copies import Copies
from tuner.events import take
from tuner.journal import FILE, running
from tuner.lease import Lease, holder

DESK = "desk"  # in the sweep's home: the copies, the lease, what others ask
REQUESTS = "requests"  # there, and in the sweep's folder
SECONDS_BETWEEN_COPIES = 1.0
SECONDS_BETWEEN_LOOKS = 5.0  # for requests
SECONDS_FOR_THE_REST = 30.0  # at the end, while S3 is away
REMOVED_AT_A_TIME = 64
AT_A_TIME = 8  # requests to S3


def is_mirrored(folder: Path) -> bool:
    """Whether the sweep of that folder is in S3."""
    return bucket.is_bucket(places.home(folder))


def is_elsewhere(folder: Path) -> bool:
    """Whether the sweep is in S3 and whoever drives it does so on another machine."""
    return is_mirrored(folder) and not running(folder)


def desk(folder: Path) -> str:
    return bucket.below(places.home(folder), DESK)


def pull(folder: Path) -> bool:
    """Brings the sweep's files here, where it is in S3 and nobody drives it from here; whether somebody does elsewhere.

    What is here alone, since S3 was away when its driver ended, goes there. UserError, in one line, where S3 gives no
    answer, or where both have gone on without each other.
    """
    if not is_mirrored(folder) or running(folder):
        return False
    copies = Copies(folder, desk(folder))
    with refused(folder):
        copies.look()
        if not copies.known:
            return False
        driver = holder(copies.desk)
        with contextlib.closing(take(folder / FILE, f"the sweep in {folder} is running")):
            copies.fetch()
            # the time of its driver's last sign of life, as on a shared folder
            heard = copies.grown(FILE) if driver is None else driver.last
            os.utime(folder / FILE, (heard, heard))
        if copies.ahead():
            _send(folder, copies)
    return driver is not None and driver.lives


def _send(folder: Path, copies: Copies) -> None:
    lease = Lease(copies.desk)
    try:
        lease.take(folder.name)
    except UserError:
        return  # who has it knows more
    copies.send()
    lease.release()


@contextlib.contextmanager
def refused(folder: Path) -> Iterator[None]:
    """S3 that gives no answer: one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"storage={places.storage_of(folder)!r}: {bucket.cause(error)}") from None


def check(folder: Path) -> None:
    """UserError where the sweep is in S3 and this machine cannot write there."""
    if is_mirrored(folder):
        with refused(folder):
            mark = bucket.below(desk(folder), f".written-{os.getpid()}")
            bucket.write(mark, b"")
            bucket.delete(mark)


def set_aside(folder: Path, name: str) -> None:
    """The sweep's home in S3, if it has one, gets another name: each object is copied there, within S3."""
    if is_mirrored(folder):
        with refused(folder):
            bucket.move(places.home(folder), bucket.below(places.storage_of(folder), name))


@contextlib.contextmanager
def kept(folder: Path, say: Callable[[str], None]) -> Iterator["Mirror | None"]:
    """Inside, the folder of a sweep in S3 is copied there as it changes; None where it is on a disk alone."""
    if not is_mirrored(folder):
        yield None
        return
    mirror = Mirror(folder, say)
    mirror.open()
    try:
        yield mirror
    finally:
        mirror.close()


class Mirror:
    """One driver's, from `open` to `close`. say: for one line when S3 is away, and one when it is back."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._copies, self._lease = Copies(folder, desk(folder)), Lease(desk(folder))
        self._there = bucket.key(self._copies.desk)
        self.lost: Callable[[], None] = lambda: None  # called when another driver has taken the sweep
        self._taken = self._away = False
        self._looked = 0.0
        self._old: list[str] = []  # folders that the journal no longer needs
        self._gone: set[str] = set()
        self._sending = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def open(self) -> None:
        """UserError where another driver has the sweep, or S3 gives no answer."""
        with refused(self._folder):
            self._lease.take(self._folder.name)
            try:
                self._copies.look()
                if self._copies.behind():
                    raise UserError(f"the sweep in {self._there} has gone on meanwhile: once more")
                bucket.remove(
                    bucket.below(self._copies.desk, REQUESTS)
                )  # those that an earlier driver did not live to see
            except BaseException:
                self._lease.release()
                raise
        self._thread.start()

    def send(self, told: Told) -> None:
        """All that is here is there too when this returns, however long that takes."""
        patiently(self._send, told)

    def missing(self, places: set[str]) -> None:
        """Folders that are not there: they need not be removed."""
        self._gone |= places

    def discard(self, place: str) -> None:
        """Removes the folder, once the copy of the journal has what came after it."""
        if place not in self._gone:
            self._gone.add(place)
            self._old.append(place)

    def close(self) -> None:
        """What is left goes there, within some time; else it is said where it is."""
        self._end.set()
        self._thread.join()
        until = time.monotonic() + SECONDS_FOR_THE_REST
        while not self._taken and not self._turned():
            if self._away and time.monotonic() >= until:
                self._say(
                    f"the end of this sweep is in {self._folder} and not yet in {self._there}: "
                    "`roadmap-tune status` on this machine copies it"
                )
                return
            if self._away:
                time.sleep(SECONDS_BETWEEN)
        with contextlib.suppress(OSError):
            self._lease.release()

    def _run(self) -> None:
        while not self._taken and not self._end.wait(SECONDS_BETWEEN_COPIES):
            self._turned()

    def _turned(self) -> bool:
        """Copies, removes, takes requests; whether nothing is left to do."""
        try:
            other = self._lease.keep()
            if other is None:
                old = self._old[:REMOVED_AT_A_TIME]
                self._send()
                self._remove(old)
                self._take_requests()
        except (OSError, ValueError) as error:  # a lease that is no JSON
            if not self._away:
                self._say(f"{self._there}: {bucket.cause(error)}; it is copied later, nothing is lost")
            self._away = True
            return False
        if other is not None:
            self._taken = True
            self._say(f"{other} has taken the sweep: this driver ends; its last events are in {self._folder} alone")
            self.lost()
        elif self._away:
            self._say(f"{self._there} takes copies again")
        self._away = False
        return not self._old

    def _send(self) -> None:
        with self._sending:
            self._copies.send()

    def _remove(self, old: list[str]) -> None:
        if old:
            with ThreadPoolExecutor(AT_A_TIME) as pool:
                list(pool.map(bucket.remove, old))
            del self._old[: len(old)]

    def _take_requests(self) -> None:
        """What other machines ask of this driver lies in its folder from now on."""
        if time.monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        asked = bucket.below(self._copies.desk, REQUESTS)
        for found in bucket.listed(asked):
            place = bucket.below(asked, found.base_name)
            content = bucket.read(place) if re.fullmatch(r"[0-9a-f]{32}\.json", found.base_name) else None
            if content is not None:
                (self._folder / REQUESTS).mkdir(mode=0o700, exist_ok=True)
                draft = self._folder / REQUESTS / f"{found.base_name}.draft"
                draft.write_bytes(content)
                os.replace(draft, self._folder / REQUESTS / found.base_name)
                bucket.delete(place)
