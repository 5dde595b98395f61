"""Who drives a sweep in S3: one small object, written again every few seconds by the driver that has it.

S3 has no locks. Of two that take it at one moment the later writer has it, and the other finds out: before it begins,
or at its next sign of life.
"""

import json
import os
import platform
import time
import uuid
from typing import NamedTuple

from trainables import bucket
from trainables.errors import UserError

FILE = "lease"
SILENT_S = 60.0  # a driver gives a sign of life every few seconds; one that is so long silent is gone
SECONDS_BETWEEN_SIGNS = 10.0
SECONDS_TO_LOOK_AGAIN = 1.0


class Holder(NamedTuple):
    token: str
    host: str
    pid: int
    last: float  # unix seconds of its last sign of life, by S3's clock

    @property
    def lives(self) -> bool:
        """By its signs of life, and one of this machine by its process too."""
        here = self.host == platform.node()
        return time.time() - self.last < SILENT_S and (not here or os.path.exists(f"/proc/{self.pid}"))

    def __str__(self) -> str:
        return f"{self.host} (pid {self.pid})"


def holder(desk: str) -> Holder | None:
    """Of the lease in that folder of S3; None where nobody has it."""
    place = bucket.below(desk, FILE)
    content = bucket.read(place)
    if content is None:
        return None
    written = json.loads(content)
    changed = bucket.filesystem(place).get_file_info(bucket.key(place)).mtime
    last = 0.0 if changed is None else changed.timestamp()
    return Holder(str(written["token"]), str(written["host"]), int(written["pid"]), last)


class Lease:
    """desk: the folder in S3 that it is for."""

    def __init__(self, desk: str) -> None:
        self._desk, self._token = desk, uuid.uuid4().hex
        self._signed = 0.0  # monotonic seconds

    def take(self, sweep: str) -> None:
        """UserError where another driver has it."""
        other = holder(self._desk)
        if other is None or not other.lives:
            self._sign()
            time.sleep(SECONDS_TO_LOOK_AGAIN)
            other = holder(self._desk)
        if other is None or other.token != self._token:
            raise UserError(f"sweep {sweep!r} is running on {other}: `roadmap-tune status` follows it")

    def keep(self) -> Holder | None:
        """A sign of life where one is due; the other driver where one has taken it meanwhile."""
        if time.monotonic() - self._signed < SECONDS_BETWEEN_SIGNS:
            return None
        other = holder(self._desk)
        if other is not None and other.token != self._token:
            return other
        self._sign()
        return None

    def release(self) -> None:
        """Nobody has it, unless another has taken it."""
        other = holder(self._desk)
        if other is not None and other.token == self._token:
            bucket.delete(bucket.below(self._desk, FILE))

    def _sign(self) -> None:
        self._signed = time.monotonic()
        written = {"token": self._token, "host": platform.node(), "pid": os.getpid()}
        bucket.write(bucket.below(self._desk, FILE), json.dumps(written).encode())
