"""The live board: pictures are rare enough to cost the driver little."""

import io
import time

import pytest
from rich.console import Console
from rich.live import Live

from tuner import board
from tuner.board import Board
from tuner.journal import Trial
from tuner.sweep import Sweep


def test_pictures_take_a_twentieth_of_the_time(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(board.time, "monotonic", lambda: clock[0])
    shown = Board(sweep, 6, 4, [1], io.StringIO())
    drawn: list[float] = []

    class Pictures:
        def update(self, picture: object, refresh: bool) -> None:
            drawn.append(clock[0])
            clock[0] += 0.1  # that it takes

    shown._live = Pictures()  # type: ignore[assignment]
    for _ in range(100):
        shown.refresh()
        clock[0] += 0.1
    assert drawn == pytest.approx([100.0, 102.0, 104.0, 106.0, 108.0, 110.0], abs=0.11)


def test_a_terminal_shows_the_newest_trials(sweep: Sweep) -> None:
    stream = io.StringIO()
    shown = Board(sweep, 2, 4, [1], stream)
    shown._console = Console(file=stream, force_terminal=True, width=120)
    shown._live = Live(console=shown._console, auto_refresh=False)
    point = dict.fromkeys(sweep.space, 0.01)
    shown.start({0: Trial(0, point, "running", reports={2: {"val/map_at_r": 0.25}}, reported_at={2: time.time()})})
    shown.refresh()
    shown.stop()
    assert "2/4" in stream.getvalue() and "0.2500" in stream.getvalue()
