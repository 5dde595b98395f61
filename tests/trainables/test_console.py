"""Progress: a bar for each that works on a terminal, lines in a log."""

import io

import pytest

from tests.tuner.terminal import terminal
from trainables import console
from trainables.console import Bars


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds; rich has its own."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_now_and_then_for_each_that_works(clock: list[float]) -> None:
    log = io.StringIO()
    with Bars(log) as bars:
        for second in range(41):
            clock[0] = 100.0 + second
            bars.update("render emoji", 10 + second, 50, of="10.0.0.11")
            bars.update("cache images", 5 * second, 1000, of="10.0.0.12")
            if second == 20:
                bars.line("10.0.0.13: sop: /data/sop is missing")
    assert log.getvalue().splitlines() == [
        "10.0.0.11: render emoji: 26/50, 1.0/s, about 24 s left",
        "10.0.0.12: cache images: 80/1000, 5.0/s, about 184 s left",
        "10.0.0.13: sop: /data/sop is missing",
        "10.0.0.11: render emoji: 42/50, 1.0/s, about 8 s left",
        "10.0.0.12: cache images: 160/1000, 5.0/s, about 168 s left",
    ]


def test_work_that_stands_still_has_no_rate_and_new_work_begins_anew(clock: list[float]) -> None:
    log = io.StringIO()
    with Bars(log) as bars:
        bars.update("starts", 0, 1, of="a")
        clock[0] += 16
        bars.update("starts", 0, 1, of="a")
        bars.update("fetch", 500, 1000, of="a")
        clock[0] += 20
        bars.update("fetch", 600, 1000, of="a")
        bars.end("a")
        bars.end("never heard of")
    assert log.getvalue().splitlines() == ["a: starts: 0/1", "a: fetch: 600/1000, 5.0/s, about 80 s left"]


def test_a_hundred_that_work_do_not_fill_a_log(clock: list[float]) -> None:
    log = io.StringIO()
    with Bars(log) as bars:
        for second in range(1200):
            clock[0] = 100.0 + second
            for node in range(100):
                bars.update("cache images", second, 2000, of=f"n{node}")
    lines = log.getvalue().splitlines()
    assert {line.split(":")[0] for line in lines} == {f"n{node}" for node in range(100)}
    assert len(lines) <= 5 * 1200 / 15


def test_a_terminal_has_a_bar_for_each_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    with terminal(80) as screen, Bars(screen.stream) as bars:
        for node in range(11, 14):
            bars.update("decode train images", 100, 59551, of=f"10.0.0.{node}")
        bars.update("nodes done", 0, 3)
        bars._progress.refresh()
        shown = screen.lines()
        assert [line.split()[0] for line in shown] == ["10.0.0.11:", "10.0.0.12:", "10.0.0.13:", "nodes"]
        assert all("100/59551" in line for line in shown[:3])
        bars.end("10.0.0.12")
        bars.line("10.0.0.12: sop: /data/sop is missing")
        bars._progress.refresh()
        assert [line.split()[0] for line in screen.lines()] == ["10.0.0.12:", "10.0.0.11:", "10.0.0.13:", "nodes"]
