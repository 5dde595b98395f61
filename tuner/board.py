"""What a running sweep shows: one live table on a terminal, plain lines in a log."""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuner.journal import BROKEN, Trial
from tuner.results import Results
from tuner.sweep import Sweep

SHOWN = 12  # running trials and the best of the others
SECONDS_BETWEEN_PICTURES = 0.2
DRAWING = 0.05  # the share of the driver's time that pictures may take: each goes through all trials
STATES = ("running", "finished", "stopped", "infeasible", "failed", "lost", "pending")


class Board:
    """Follows the trials of one sweep. `report` and `end` print lines where there is no terminal."""

    def __init__(
        self, sweep: Sweep, planned: int, epochs: int, rungs: list[int], stream: IO[str] | None = None
    ) -> None:
        self._sweep, self._planned, self._epochs, self._rungs = sweep, planned, epochs, rungs
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._live = (
            Live(console=self._console, auto_refresh=False, transient=True) if self._console.is_terminal else None
        )
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

    def look(self, trials: Mapping[int, Trial], planned: int) -> None:
        """`trials` from here on: the same sweep, read anew."""
        self._trials, self._planned = trials, planned

    def start(self, trials: Mapping[int, Trial]) -> None:
        self.follow(trials)
        if self._live is not None:
            self._live.start()

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        self._console.print(text, markup=False)

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
        if self._live is not None and began >= self._next_picture:
            self._live.update(self._picture(), refresh=True)
            took = time.monotonic() - began
            self._next_picture = began + max(SECONDS_BETWEEN_PICTURES, took / DRAWING)

    def ended(self, trial: Trial) -> None:
        """One line a trial in a log; on a terminal the table says it."""
        if self._live is None:
            best = trial.best(self._sweep.objective.metric, self._sweep.objective.mode)
            value = "no value" if best is None else f"{self._sweep.objective.metric} {best[1]:.4f} at epoch {best[0]}"
            why = f" ({trial.reason})" if trial.reason else ""
            self.line(f"trial {trial.id} {trial.state}{why}: {value}; {self.summary()}")
        elif trial.state in ("infeasible", *BROKEN):
            self.line(f"trial {trial.id} {trial.state}: {trial.reason}")

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

    def _picture(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("trial", "state", "epoch", "rung", self._sweep.objective.metric, *self._short_names()):
            table.add_column(name, justify="left" if name in ("trial", "state") else "right", no_wrap=True)
        ranked = Results(self._sweep, tuple(self._trials.values())).ranked
        live = [trial for trial in ranked if not trial.ended]
        for trial in (live + [trial for trial in ranked if trial.ended])[:SHOWN]:
            epoch = f"{max(trial.reports, default=0)}/{self._epochs}"
            point = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in trial.point.values()]
            table.add_row(trial.id, trial.state, epoch, self._rung(trial), self._value(trial), *point)
        return Group(Text(f"{self._sweep.name}: {self.summary()}", overflow="fold"), table)

    def _short_names(self) -> list[str]:
        """loss.SupAP.tau -> SupAP.tau: what tells two columns apart in 80 columns."""
        return [".".join(key.split(",")[0].split(".")[-2:]) for key in self._sweep.space]
