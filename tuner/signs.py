"""What nodes leave in the storage and say of their work, before any of them loads what trains.

Ray's processes there import this file for its functions, so it imports nothing that takes seconds.
"""

import os
import time
import uuid
from collections.abc import Callable

from trainables import bucket

Sign = tuple[str, int, int]  # what a node is at, pieces done, of how many
SECONDS_BETWEEN_SIGNS = 1.0


class Signs:
    """What each node said last of its work. An actor of Ray's, on the driver's node."""

    def __init__(self) -> None:
        self._said: dict[str, Sign] = {}

    def say(self, node: str, sign: Sign) -> None:
        self._said[node] = sign

    def said(self) -> dict[str, Sign]:
        return self._said


class Sparing:
    """Hands on what is said often: what is new, what is complete, else once a second."""

    def __init__(self, say: Callable[[Sign], object]) -> None:
        self._say, self._what, self._at = say, "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what or done == total or now - self._at >= SECONDS_BETWEEN_SIGNS:
            self._what, self._at = what, now
            self._say((what, done, total))


def leave_mark(folder: str) -> dict[str, str]:
    """Runs on a node: leaves a file in the folder. name: the file's; error: why it could not, "" where it did."""
    name = f"{os.uname().nodename}-{uuid.uuid4().hex}"
    try:
        bucket.write(bucket.below(folder, name), b"")
    except OSError as error:
        return {"name": name, "error": bucket.cause(error)}
    return {"name": name, "error": ""}
