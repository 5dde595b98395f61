"""Storage that cannot be written to for a while: it is full, read-only, or its server is away. Who writes waits."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN,
     errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EREMOTEIO}
)  # fmt: skip
SECONDS_BETWEEN = 1.0

Value = TypeVar("Value")
Told = Callable[[OSError | None], None]


def passing(error: OSError) -> bool:
    """Whether the same write may succeed later; an error of an object store (pyarrow's) has no number."""
    return error.errno in PASSING or (error.errno is None and not isinstance(error, FileNotFoundError))


def patiently(write: Callable[[], Value], told: Told = lambda error: None, seconds: float | None = None) -> Value:
    """What `write` returns, tried again each second while the storage cannot be written to.

    told: called with the error before each wait, with None once it is over; it may raise to give up. seconds: how long
    at most, then the error is raised; None: as long as it takes. `write` leaves nothing half done where it fails.
    """
    began, waited = time.monotonic(), False
    while True:
        try:
            value = write()
        except OSError as error:
            late = seconds is not None and time.monotonic() - began >= seconds
            if late or not passing(error):
                raise
            waited = True
            told(error)
            time.sleep(SECONDS_BETWEEN)
        else:
            if waited:
                told(None)
            return value
