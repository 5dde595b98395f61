"""What a running sweep shows: one live table on a terminal, plain lines elsewhere, and all lines in its log."""

import os
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from rich.text import Text

from trainables.console import near
from tuner import logbook, tables
from tuner.journal import BROKEN, Trial, traceback_file
from tuner.logbook import Logbook
from tuner.results import Results
from tuner.screen import Screen
from tuner.sweep import Sweep

SHOWN, SHOWN_IN_HIGH = 12, 24  # running trials and the best of the others; where the terminal is high
HIGH = 40  # lines
SECONDS_BETWEEN_PICTURES = 0.2
DRAWING = 0.05  # the share of the driver's time that pictures may take: each goes through all trials
STATES = ("running", "finished", "stopped", "infeasible", "failed", "lost", "pending")
COLOURS = {"running": "cyan", "finished": "green", "stopped": "yellow", "infeasible": "magenta"}
SAID = 40  # characters of a reason that are never cut off
BAD = "red"  # failed, lost


class Board:
    """Follows the trials of one sweep.

    log: the sweep's, which has every line. plain: no table on a terminal either.
    """

    def __init__(
        self,
        sweep: Sweep,
        planned: int,
        epochs: int,
        rungs: list[int],
        stream: IO[str] | None = None,
        log: Logbook | None = None,
        plain: bool = False,
    ) -> None:
        self._sweep, self._planned, self._epochs, self._rungs = sweep, planned, epochs, rungs
        self._screen, self._log = Screen(stream or sys.stderr), log
        self._table = self._screen.live and not plain
        self._started = time.monotonic()
        self._ended_before = 0
        self._next_picture = 0.0
        self._waits = False  # for the storage
        self._trials: Mapping[int, Trial] = {}

    def follow(self, trials: Mapping[int, Trial]) -> None:
        """`trials` is looked at as it changes; those that have ended already do not count for the time left."""
        self._trials = trials
        self._ended_before = sum(trial.ended for trial in trials.values())
        self._started = time.monotonic()

    def planned(self, trials: int) -> None:
        """The sweep has this many trials from here on."""
        self._planned = trials

    def start(self, trials: Mapping[int, Trial]) -> None:
        self.follow(trials)

    def stop(self) -> None:
        self._screen.end()

    def line(self, text: str) -> None:
        self._note(text)
        self._screen.line(text)

    def aside(self, text: str) -> None:
        """A line that the log has already."""
        self._screen.line(text)

    def _note(self, text: str) -> None:
        if self._log is not None:
            self._log.write(text)

    def storage(self, error: OSError | None) -> None:
        """One line when the storage takes no writes, and one (None) when it takes them again."""
        if error is None and self._waits:
            self.line(f"{self._sweep.folder} can be written to again: going on")
        elif error is not None and not self._waits:
            why = error.strerror or str(error)
            self.line(f"{self._sweep.folder} cannot be written to ({why}): waiting, nothing is lost")
        self._waits = error is not None

    def refresh(self) -> None:
        """A new picture, unless the last one is fresh."""
        began = time.monotonic()
        if self._table and began >= self._next_picture:
            self._screen.draw(self._picture(self._screen.size))
            took = time.monotonic() - began
            self._next_picture = began + max(SECONDS_BETWEEN_PICTURES, took / DRAWING)

    def ended(self, trial: Trial) -> None:
        """One line a trial; a terminal's table says it, but of what went wrong."""
        bad, told = trial.state in ("infeasible", *BROKEN), trouble(self._sweep.folder, trial)
        if bad and self._table:
            self._note(told)
            self._screen.line(trouble(self._sweep.folder, trial, self._screen.size.columns - 1))
        if self._table:
            self._note(self._end(trial)) if not bad else None
            return
        self.line(f"{told}; {self.summary()}" if bad else self._end(trial))

    def _end(self, trial: Trial) -> str:
        best = trial.best(self._sweep.objective.metric, self._sweep.objective.mode)
        value = "no value" if best is None else f"{self._sweep.objective.metric} {best[1]:.4f} at epoch {best[0]}"
        why = f" ({trial.reason})" if trial.reason else ""
        return f"trial {trial.id} {trial.state}{why}: {value}; {self.summary()}"

    def summary(self) -> str:
        """Trials by state, the best so far, the time left."""
        counts = Counter(trial.state for trial in self._trials.values())
        counts["pending"] += self._planned - len(self._trials)
        states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        best = Results(self._sweep, tuple(self._trials.values())).best
        leader = "" if best is None else f"; best {self._value(best)} (trial {best.id})"
        return f"{states}{leader}{self._time_left()}"

    def _value(self, trial: Trial) -> str:
        best = trial.best(self._sweep.objective.metric, self._sweep.objective.mode)
        return "" if best is None else f"{best[1]:.4f}"

    def _time_left(self) -> str:
        ended = sum(trial.ended for trial in self._trials.values())
        done = ended - self._ended_before
        if done < 2 or ended >= self._planned:
            return ""
        seconds = (time.monotonic() - self._started) / done * (self._planned - ended)
        return f"; about {seconds / 60:.0f} min left" if seconds >= 90 else f"; about {seconds:.0f} s left"

    def _rung(self, trial: Trial) -> str:
        passed = [rung for rung in self._rungs if trial.reports and rung <= max(trial.reports)]
        return str(passed[-1]) if passed else "-"

    def _picture(self, size: os.terminal_size) -> list[Text]:
        columns = size.columns - 1
        heading = textwrap.wrap(f"{self._sweep.name}: {self.summary()}", columns)
        ranked = Results(self._sweep, tuple(self._trials.values())).ranked
        live = [trial for trial in ranked if not trial.ended]
        room = size.lines - len(heading) - 3  # names of columns, what is left out, the cursor's line
        most = min(SHOWN_IN_HIGH if size.lines >= HIGH else SHOWN, room)
        trials = (live + [trial for trial in ranked if trial.ended])[: max(1, most)]
        settings = [*self._short_names()]
        names = ["trial", "state", "epoch", "rung", self._sweep.objective.metric, *settings, "why"]
        why, rung = len(names) - 1, names.index("rung")
        searched = range(why - 1, why - 1 - len(settings), -1)
        rows, left_out = tables.fit([names, *map(self._row, trials)], columns, [why, rung, *searched], searched, why)
        states = [None, *(trial.state for trial in trials)]
        shown = [_line(row, tables.widths(rows), state) for row, state in zip(rows, states, strict=True)]
        hidden = [name for name in left_out if name in settings]
        told = [Text(f"{len(hidden)} more settings where the terminal is wider", style="dim")] if hidden else []
        return [*(Text(line, style="bold") for line in heading), *shown, *told]

    def _row(self, trial: Trial) -> list[str]:
        point = [_short(trial.point.get(key, "-")) for key in self._sweep.space]
        epoch = f"{max(trial.reports, default=0)}/{self._epochs}"
        return [trial.id, trial.state, epoch, self._rung(trial), self._value(trial), *point, trial.reason]

    def _short_names(self) -> list[str]:
        """loss.SupAP.tau -> SupAP.tau: what tells two columns apart in 80 columns."""
        return [".".join(key.split(",")[0].split(".")[-2:]) for key in self._sweep.space]


def trouble(folder: Path, trial: Trial, width: int | None = None) -> str:
    """What went wrong with a trial, in one line with the file that says more; width: to be cut to, the file never."""
    kept, log = traceback_file(folder, trial.number), folder / logbook.FILE
    files = [file for file in (kept, *([log] if trial.state in BROKEN else [])) if file.is_file()]
    where = f"; {near(files[0])}" if files else ""
    told = f"trial {trial.id} {trial.state}: {trial.reason}"
    return (told if width is None else tables.cut_end(told, max(width - len(where), SAID))) + where


def _line(row: Sequence[str], widths: Sequence[int], state: str | None) -> Text:
    """trial and state flush left, numbers flush right, the reason as it is."""
    cells = [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    line = Text("  ".join(cells), style="bold" if state is None else "")
    if state is not None:
        line.stylize(COLOURS.get(state, BAD if state in BROKEN else ""), widths[0] + 2, widths[0] + 2 + len(state))
    return line


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
