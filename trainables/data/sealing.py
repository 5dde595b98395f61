"""The seal on test splits: a process that chooses settings cannot look at what they are judged on in the end.

A trial of a sweep seals its process before anything is built; its loaders' processes are born sealed. Nothing takes
the seal off again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

_state = {"sealed": False, "listing": False}


class TestSplitSealed(RuntimeError):
    """This process has sealed the test splits and was asked for one."""

    __test__ = False  # no test class, whatever its name begins with


def seal_test_splits() -> None:
    """From now on no data set of this process gives a test split."""
    _state["sealed"] = True


def check_unsealed(dataset: str) -> None:
    """What every data set calls before it gives a test split; TestSplitSealed where it must not."""
    if _state["sealed"] and not _state["listing"]:
        raise TestSplitSealed(f"the test split of {dataset} is sealed: a trial of a sweep never reads it")


@contextmanager
def listing_files() -> Iterator[None]:
    """Around what has to know which files there are, as a cache of all of them, and gives no label on."""
    before, _state["listing"] = _state["listing"], True
    try:
        yield
    finally:
        _state["listing"] = before
