"""Writes that wait until the storage takes them."""

import errno
from collections.abc import Callable

import pytest

from trainables import patience
from trainables.patience import passing, patiently


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS_BETWEEN", 0.001)


def failing(times: int, error: OSError) -> Callable[[], str]:
    left = times

    def write() -> str:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return "written"

    return write


def test_a_full_disk_is_waited_for_and_said_once_over() -> None:
    full, told = OSError(errno.ENOSPC, "No space left on device"), []
    assert patiently(failing(3, full), told.append) == "written"
    assert told == [full, full, full, None]
    assert patiently(lambda: "at once", told.append) == "at once" and len(told) == 4


def test_what_waiting_does_not_change_is_raised() -> None:
    with pytest.raises(FileNotFoundError):
        patiently(failing(1, FileNotFoundError(errno.ENOENT, "no such folder")))
    with pytest.raises(OSError, match="full"):
        patiently(failing(10**9, OSError(errno.ENOSPC, "full")), seconds=0.05)
    assert passing(OSError("AWS Error NETWORK_CONNECTION during PutObject")) and not passing(PermissionError(13, "no"))
