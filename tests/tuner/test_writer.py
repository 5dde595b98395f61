"""A store that is away for a while, and one that refuses a single write."""

import threading
from collections.abc import Callable, Sequence

import pytest

from tuner import writer
from tuner.writer import ATTEMPTS, Writer


class Store:
    """Takes writes while it is `there`; never a "bad" one."""

    def __init__(self) -> None:
        self.there, self.tried = True, 0
        self.has: list[str] = []
        self.troubles: list[str] = []
        self.writer: Writer[str] = Writer(self.take, lambda: self.there, self.troubles.append)
        self.writer.start()

    def take(self, values: Sequence[str]) -> None:
        self.tried += 1
        if not self.there:
            raise ConnectionError("refused\nby all")
        if "bad" in values:
            raise ValueError("bad")
        self.has += values

    def job(self, value: str) -> Callable[[], None]:
        return lambda: self.take([value])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SECONDS_BETWEEN", 0.01)


def test_what_a_store_that_is_away_does_not_take_waits_in_order() -> None:
    store = Store()
    store.there = False
    for value in ("a", "b"):
        store.writer.do(store.job(value))
    store.writer.add("c")
    store.writer.add("d")
    back = threading.Timer(0.5, lambda: setattr(store, "there", True))
    back.start()
    summary = store.writer.close(10)
    assert (summary.written, summary.failed) == (3, 0) and store.has == ["a", "b", "c", "d"]
    assert store.tried > ATTEMPTS + 3 and store.troubles == [summary.first_error] == ["ConnectionError: refused"]


def test_what_it_refuses_alone_is_counted_and_passed_over() -> None:
    store = Store()
    for value in ("a", "bad", "b"):
        store.writer.do(store.job(value))
    summary = store.writer.close(10)
    assert (summary.written, summary.failed, summary.first_error) == (2, 1, "ValueError: bad")
    assert store.has == ["a", "b"] and store.tried == 2 + ATTEMPTS


def test_of_items_that_it_refuses_together_one_is_lost() -> None:
    store, let_go = Store(), threading.Event()
    store.writer.do(let_go.wait)  # the items wait together
    for value in ("a", "bad", "b"):
        store.writer.add(value)
    let_go.set()
    assert store.writer.close(10).failed == 1 and store.has == ["a", "b"]


def test_what_still_waits_at_the_end_is_counted() -> None:
    store = Store()
    store.there = False
    for value in ("a", "b", "c"):
        store.writer.do(store.job(value))
    assert store.writer.close(0.2).failed >= 2
