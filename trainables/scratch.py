"""Folders for a moment among the machine's temporary files. One whose process was killed goes when the next is made."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "roadmap-scratch-"
UNLOCKED = "roadmap-making-"  # nobody's yet: it has its name and its lock in a moment


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new one, until the block ends."""
    remove_stale()
    made = Path(tempfile.mkdtemp(prefix=UNLOCKED))
    lock = os.open(made, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel gives it back however this process ends
        made = made.rename(made.with_name(made.name.replace(UNLOCKED, PREFIX)))
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def remove_stale() -> None:
    """Those whose processes are gone, of any container that sees this machine's temporary files."""
    for found in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            lock = os.open(found, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # gone by now, or another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(found, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
