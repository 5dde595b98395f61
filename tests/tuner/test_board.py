"""What a running sweep shows, on terminals of pyte's and in files."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuner.reporting.made import made_sweep
from tests.tuner.terminal import Terminal, terminal
from tuner import board
from tuner.board import Board
from tuner.journal import Journal, Trial, traceback_file
from tuner.logbook import FILE, Logbook
from tuner.overview import ranking
from tuner.results import Results
from tuner.sweep import Sweep

EPOCHS, RUNGS = 16, [1, 3, 9]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return made_sweep(tmp_path_factory.mktemp("made"))


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


def lived(sweep: Sweep, shown: Board) -> Iterator[dict[int, Trial]]:
    """The sweep's trials as they come, three at a time, a report a step; the last of them ends badly."""
    ended = Journal.read(sweep.folder).trials
    trials: dict[int, Trial] = {}
    shown.start(trials)
    waiting = iter(ended.values())
    running: list[Trial] = []
    while True:
        while len(running) < 3 and (new := next(waiting, None)) is not None:
            trials[new.number] = Trial(new.number, new.point, "running")
            running.append(trials[new.number])
        if not running:
            return
        for trial in running[:]:
            whole = ended[trial.number]
            if len(trial.reports) < len(whole.reports):
                epoch = len(trial.reports) + 1
                trial.reports[epoch] = whole.reports[epoch]
            else:
                trial.state, trial.reason = whole.state, whole.reason
                running.remove(trial)
                shown.ended(trial)
        yield trials


def see(sweep: Sweep, screen: Terminal, log: Logbook | None = None) -> list[str]:
    """Every picture, checked; the last one."""
    shown = Board(sweep, 24, EPOCHS, RUNGS, screen.stream, log)
    picture: list[str] = []
    for trials in lived(sweep, shown):
        shown._next_picture = 0.0
        shown.refresh()
        picture = screen.lines()
        rows = [line for line in picture if re.match(r"\d{4}  ", line)]
        newest = [f"{trial.id}  " for trial in trials.values() if trial.state == "running"]
        assert all(any(row.startswith(one) for row in rows) for one in newest), picture
        assert sum("emoji: " in line for line in picture) == 1, "drawn in its place"
    shown.stop()
    return picture


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 50), (60, 12)])
def test_the_table_fits_and_nothing_scrolls(made: Sweep, columns: int, lines: int) -> None:
    with terminal(columns, lines) as screen:
        picture = see(made, screen)
        assert screen.scrolled == (lines == 12), "the line of what went wrong stays, the picture is as high as it was"
        assert any(line.startswith("emoji: 4 finished, 19 stopped, 1 infeasible") for line in picture)
        names = next(line for line in picture if line.startswith("trial  state"))
        told = [line for line in picture if "more settings where the terminal is wider" in line]
        assert bool(told) == (columns == 60)
        if columns == 200:
            assert names.split()[-1] == "why" and "CalibrationLoss.weight" in names and "asha: rung" in str(picture)
        else:
            assert "SupAP.tau" in names
        left = [line for line in screen.lines() if line]
        assert len(left) == (lines != 12), "the picture goes"
        assert all(line.startswith("trial 0023 infeasible: diverged") for line in left)


def test_a_picture_is_one_write_and_erases_nothing_that_it_does_not_write_again(made: Sweep) -> None:
    with terminal(80) as screen:
        see(made, screen)
        assert b"\x1b[2K" not in screen.written and b"\x1b[2J" not in screen.written
        assert screen.written.count(b"\x1b[?2026h") == screen.written.count(b"\x1b[?2026l")


def test_a_terminal_that_becomes_wider_and_narrower(made: Sweep) -> None:
    with terminal(80) as screen:
        shown = Board(made, 24, EPOCHS, RUNGS, screen.stream)
        shown.follow(Journal.read(made.folder).trials)
        for columns in (80, 200, 100):
            screen.resize(columns, 24)
            shown._next_picture = 0
            shown.refresh()
            picture = screen.lines()
            assert sum(line.startswith("trial  state") for line in picture) == 1
            assert max(map(len, picture)) < columns
            shown._screen.end()


def test_colours_are_for_terminals_that_want_them(made: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def colours() -> set[str]:
        with terminal(80) as screen:
            shown = Board(made, 24, EPOCHS, RUNGS, screen.stream)
            shown.follow(Journal.read(made.folder).trials)
            shown.refresh()
            return screen.colours()

    assert {"green", "brown"} <= colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert colours() == {"default"}


@pytest.mark.parametrize("forced", ["", "1"])
def test_a_file_has_lines_without_escape_codes(
    made: Sweep, tmp_path: Path, forced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", forced)
    stream = io.StringIO()
    shown = Board(made, 24, EPOCHS, RUNGS, stream)
    for _ in lived(made, shown):
        shown.refresh()
    shown.stop()
    said = stream.getvalue()
    assert "\x1b" not in said and said.count("\n") == 24
    assert all(line.startswith("trial 00") for line in said.splitlines())


def test_what_went_wrong_is_one_line_that_names_a_file(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep.folder.mkdir(parents=True)
    log = Logbook(sweep.folder)
    traceback_file(sweep.folder, 0).write_text("Traceback\n")
    point = dict.fromkeys(sweep.space, 0.01)
    failed = Trial(0, point, "failed", "RuntimeError: the images of the class are not there, and this goes on and on")
    lost = Trial(1, point, "lost", "its worker was lost 5 times")
    with terminal(80) as screen:
        shown = Board(sweep, 2, 4, [1], screen.stream, log)
        shown.start({0: failed, 1: lost})
        for trial in (failed, lost):
            shown.ended(trial)
        first, second = screen.lines()
    assert first == "trial 0000 failed: RuntimeError: the imag…; runs/small/trial-0000.traceback.txt"
    assert second == "trial 0001 lost: its worker was lost 5 times; runs/small/sweep.log"
    for line in (first, second):
        assert (tmp_path / line.rpartition("; ")[2]).is_file()
    log.close()
    assert f"this goes on and on; {Path('runs/small')}" in (sweep.folder / FILE).read_text()


def test_the_log_has_every_line_with_its_time(made: Sweep, tmp_path: Path) -> None:
    log = Logbook(tmp_path)
    with terminal(80) as screen:
        see(made, screen, log)
    log.close()
    lines = (tmp_path / FILE).read_text().splitlines()
    assert len(lines) == 24
    assert all(
        re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d trial 00\d\d (finished|stopped|infeasible)", line) for line in lines
    )


def test_the_ranking_fits_a_narrow_terminal_and_is_whole_elsewhere(made: Sweep) -> None:
    results = Results(made, tuple(Journal.read(made.folder).trials.values()))
    whole, narrow = ranking(results), ranking(results, width=79)
    assert max(map(len, narrow)) <= 79 < len(whole[0])
    assert narrow[0].split() == [
        "rank",
        "trial",
        "state",
        "val/map_at_r",
        "SupAP.tau",
        "Cali…ight",
        "back…e.lr",
        "fc.lr",
    ]
    assert narrow[-1] == "left out to fit: epochs, best epoch, why; results.csv has them"
    assert len(whole) == 11 and "CalibrationLoss.weight" in whole[0] and "asha: rung" in str(whole)
    assert ranking(results, width=400) == whole


def test_pictures_take_a_twentieth_of_the_time(made: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(board.time, "monotonic", lambda: clock[0])
    with terminal(80) as screen:
        shown = Board(made, 6, 4, [1], screen.stream)
        drawn: list[float] = []

        def draw(picture: object) -> None:
            drawn.append(clock[0])
            clock[0] += 0.1  # that it takes

        shown._screen.draw = draw  # type: ignore[method-assign]
        for _ in range(100):
            shown.refresh()
            clock[0] += 0.1
    assert drawn == pytest.approx([100.0, 102.0, 104.0, 106.0, 108.0, 110.0], abs=0.11)
