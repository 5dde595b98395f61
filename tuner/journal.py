"""The journal: what happened in a sweep, one JSON line an event, written before anything acts on it.

It is the only truth a sweep is resumed from: the points already drawn, every report, every end. A driver that is
killed loses nothing but the epochs after a trial's last checkpoint.

    {"event": "sweep", "at": 1800000000.0, ...}                the header: the sweep, the launch, versions
    {"event": "warm", "trials": [{"trial": -1, ...}, ...]}     finished trials of earlier sweeps, reports and all
    {"event": "point", "trial": 7, "point": {...}, "note": {}} drawn by the sampler; what it wants to read again
    {"event": "report", "trial": 7, "epoch": 3, "metrics": {}} one epoch
    {"event": "checkpoint", "trial": 7, "epoch": 3, "path": ""}
    {"event": "end", "trial": 7, "state": "stopped", "reason": ""}

"at", in each of them: unix seconds.
"""

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from trainables.errors import UserError
from tuner.space import Point

FILE = "journal.jsonl"
ENDED = ("finished", "stopped", "infeasible", "failed")


@dataclass
class Trial:
    """What the journal says of one trial. state: pending, running, or one of ENDED."""

    number: int
    point: Point
    state: str = "pending"
    reason: str = ""
    reports: dict[int, dict[str, float]] = field(default_factory=dict)  # epoch -> metrics
    reported_at: dict[int, float] = field(default_factory=dict)  # epoch -> unix seconds
    checkpoints: dict[int, str] = field(default_factory=dict)  # epoch -> path
    note: dict[str, Any] = field(default_factory=dict)  # what the sampler wants to remember of its draw

    @property
    def id(self) -> str:
        return f"{self.number:04d}"

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def scores(self, metric: str) -> dict[int, float]:
        """epoch -> the objective, where it was reported and is a number."""
        found = {epoch: metrics.get(metric, math.nan) for epoch, metrics in sorted(self.reports.items())}
        return {epoch: value for epoch, value in found.items() if math.isfinite(value)}

    def best(self, metric: str, mode: str) -> tuple[int, float] | None:
        """(epoch, value) of the best epoch, the earliest of equals."""
        scores = self.scores(metric)
        if not scores:
            return None
        sign = 1.0 if mode == "max" else -1.0
        epoch = max(scores, key=lambda epoch: (sign * scores[epoch], -epoch))
        return epoch, scores[epoch]

    def at_best(self, metric: str, mode: str, others: Sequence[str]) -> tuple[float, ...] | None:
        """The best value of the metric and the others of that epoch; None where one is missing or not a number."""
        best = self.best(metric, mode)
        if best is None:
            return None
        values = (best[1], *(self.reports[best[0]].get(other, math.nan) for other in others))
        return values if all(math.isfinite(value) for value in values) else None


class Journal:
    """Appends events for one driver at a time; `trials` follows them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header: dict[str, Any] = {}
        self.trials: dict[int, Trial] = {}
        self.warm: dict[int, Trial] = {}  # of earlier sweeps, numbers below 0: what the sampler starts from
        self._file: IO[str] | None = None

    @classmethod
    def read(cls, folder: Path) -> "Journal":
        """The journal as it stands on disk, for looking at; a torn last line is left out."""
        journal = cls(folder)
        for event in events(folder / FILE):
            journal._follow(event)
        return journal

    def open(self) -> None:
        """Takes the journal for writing; UserError where another driver has it."""
        path = self.folder / FILE
        self._file = take(path, f"the sweep in {self.folder} is running: `roadmap-tune status` follows it")
        for event in events(path):
            self._follow(event)

    def write(self, event: str, **values: Any) -> None:
        """Appends one event; it is on disk when this returns."""
        assert self._file is not None, "the journal is not open"
        self._follow(append(self._file, event, **values))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def complete(self) -> bool:
        """Whether every planned trial has ended."""
        planned = self.header.get("trials", 0)
        return bool(planned) and sum(trial.ended for trial in self.trials.values()) >= planned

    def _follow(self, record: Mapping[str, Any]) -> None:
        event = record["event"]
        if event == "sweep":
            self.header = dict(record)
            return
        if event == "warm":
            for told in record["trials"]:
                reports = {int(epoch): dict(metrics) for epoch, metrics in told["reports"].items()}
                self.warm[told["trial"]] = Trial(told["trial"], dict(told["point"]), "finished", reports=reports)
            return
        number = int(record["trial"])
        if event == "point":
            self.trials[number] = Trial(number, dict(record["point"]), note=dict(record.get("note", {})))
            return
        trial = self.trials[number]
        if event == "report":
            trial.state = "running"
            trial.reports[int(record["epoch"])] = dict(record["metrics"])
            # an epoch that is trained again after a kill keeps its place among the reports: rules replay them in order
            trial.reported_at.setdefault(int(record["epoch"]), float(record["at"]))
        elif event == "checkpoint":
            trial.checkpoints[int(record["epoch"])] = str(record["path"])
        elif event == "end":
            trial.state, trial.reason = str(record["state"]), str(record["reason"])


def running(folder: Path) -> bool:
    """Whether a driver holds the journal now."""
    path = folder / FILE
    if not path.exists():
        return False
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def take(path: Path, taken: str) -> IO[str]:
    """A file of events, open for this process alone; UserError(taken) where another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(taken) from None
    _drop_torn_line(path)
    return file


def append(file: IO[str], event: str, **values: Any) -> dict[str, Any]:
    """The event as it was written; it is on disk when this returns."""
    record = {"event": event, "at": round(time.time(), 3), **values}
    file.write(json.dumps(record) + "\n")
    file.flush()
    os.fsync(file.fileno())
    return record


def events(path: Path) -> Iterator[dict[str, Any]]:
    """What is in a file of events, but a torn last line."""
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _drop_torn_line(path: Path) -> None:
    """A driver that died while writing leaves half a line; the event it was to record never took effect."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
