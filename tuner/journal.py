"""The journal: what happened in a sweep, one JSON line an event, written before anything acts on it.

It is the only truth a sweep is resumed from: the points already drawn, every report, every end. A driver that is
killed loses nothing but the epochs after a trial's last checkpoint.

    {"event": "sweep", "at": 1800000000.0, ...}                the header: the sweep, its trials and epochs, versions
    {"event": "launch", "host": "", "pid": 7, "about": {}}     a driver began; its code, versions, machine
    {"event": "warm", "trials": [{"trial": -1, ...}, ...]}     finished trials of earlier sweeps, reports and all
    {"event": "point", "trial": 7, "point": {...}, "note": {}} drawn by the sampler; what it wants to read again
    {"event": "start", "trial": 7}                             a worker has it
    {"event": "report", "trial": 7, "epoch": 3, "metrics": {}} one epoch; "stop": why its scheduler ends it there;
                                                               "host", "gpu": where it was trained
    {"event": "checkpoint", "trial": 7, "epoch": 3, "path": "launch-1/trial-0007-00007/checkpoint_000002"}
    {"event": "pause", "trial": 7}                             its scheduler let it wait
    {"event": "loss", "trial": 7, "reason": ""}                its worker or node is gone: on from its checkpoint
    {"event": "crowded", "trial": 7, "reason": ""}             its GPU had no memory left: next with fewer beside it
    {"event": "exploit", "trial": 7, "epoch": 4, "donor": 2, "point": {...}}   after it, from the donor's checkpoint
    {"event": "end", "trial": 7, "state": "stopped", "reason": ""}
    {"event": "retry", "trial": 7}                             it had ended, and is to go on
    {"event": "extend", "trials": 40, "planned": 40, "hours": 1.0, "gpu_hours": 0.0}   totals, and hours on top
    {"event": "wait", "reason": ""}                            why nothing new starts; "" once it does again
    {"event": "avoid", "node": "4f2a...", "reason": ""}        it has no data: nothing is placed there
    {"event": "answer", "request": "", "text": ""}             what became of a request
    {"event": "left", "state": "stopped", "reason": ""}        the driver ended; one that was killed says nothing

"at", in each of them: unix seconds.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from trainables import bucket
from trainables.errors import UserError
from trainables.patience import Told
from tuner import places
from tuner.events import Reader, Replaced, append, take, taken
from tuner.space import Point

FILE = "journal.jsonl"
BROKEN = ("failed", "lost")  # ended by a bug or by the machines, which says nothing of the point
ENDED = ("finished", "stopped", "infeasible", *BROKEN)


@dataclass
class Launch:
    """One driver. state: "" while it runs, and for one that was killed; else finished, stopped, interrupted, failed."""

    host: str
    pid: int
    began: float  # unix seconds, as `last`, its latest event
    last: float
    state: str = ""
    reason: str = ""
    about: dict[str, str] = field(default_factory=dict)  # provenance.py


class Change(NamedTuple):
    """After this epoch a trial went on from the donor's checkpoint of it, with another point."""

    epoch: int
    point: Point
    donor: int


@dataclass
class Trial:
    """What the journal says of one trial. state: pending, running, or one of ENDED."""

    number: int
    point: Point
    state: str = "pending"
    reason: str = ""
    reports: dict[int, dict[str, float]] = field(default_factory=dict)  # epoch -> metrics
    reported_at: dict[int, float] = field(default_factory=dict)  # epoch -> unix seconds
    checkpoints: dict[int, str] = field(default_factory=dict)  # epoch -> its folder
    note: dict[str, Any] = field(default_factory=dict)  # what the sampler wants to remember of its draw
    occupied_s: float = 0.0  # seconds that workers had it, up to the latest event of it
    stop: str = ""  # why its latest report is to be its last
    since: float | None = None  # unix seconds of that event, while a worker has it
    losses: int = 0  # of its worker or node, since its newest checkpoint
    drawn_at: float = 0.0  # unix seconds, as `ended_at`
    ended_at: float = 0.0
    launch: int = -1  # which of the launches had it last
    place: dict[str, str] = field(default_factory=dict)  # "host", and "gpu" where there was one
    crowded: bool = False  # it goes on at half the concurrency: its GPU had no memory left
    schedule: list[Change] = field(default_factory=list)  # by epoch; empty where its point is its only one

    @property
    def id(self) -> str:
        return f"{self.number:04d}"

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def point_at(self, epoch: int) -> Point:
        """With which the epoch (counted from 1) was trained, or would be."""
        before = [change.point for change in self.schedule if change.epoch < epoch]
        return before[-1] if before else self.point

    def occupied(self, at: float | None) -> None:
        """A worker has the trial up to the time `at`, or has it no longer (None)."""
        if self.since is not None and at is not None:
            self.occupied_s += at - self.since
        self.since = at

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
        self.home = places.home(folder)  # where its checkpoints are
        self.header: dict[str, Any] = {}
        self.trials: dict[int, Trial] = {}
        self.warm: dict[int, Trial] = {}  # of earlier sweeps, numbers below 0: what the sampler starts from
        self.launches: list[Launch] = []
        self.extension: dict[str, float] = {}  # search.trials and planned trials now; hours and gpu_hours on top
        self.waiting = ""  # why nothing new starts
        self.answers: dict[str, str] = {}  # request -> what became of it
        self.last = 0.0  # unix seconds of the latest event
        self.told: Told = lambda error: None  # of writes that wait
        self._file: IO[str] | None = None
        self._reader = Reader(folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> "Journal":
        """The journal as it stands on disk, for looking at; a torn last line is left out."""
        journal = cls(folder)
        journal._catch_up()
        return journal

    def again(self) -> "Journal":
        """This one with what has come since; another where the file is another (`--fresh`). Not after `rest`."""
        try:
            self._catch_up()
        except Replaced:
            return Journal.read(self.folder)
        return self

    def open(self) -> None:
        """Takes the journal for writing; UserError where another driver has it."""
        path = self.folder / FILE
        self._file = take(path, f"the sweep in {self.folder} is running: `roadmap-tune status` follows it")
        self._catch_up()

    def write(self, event: str, **values: Any) -> None:
        """Appends one event; it is on disk when this returns, however long the disk takes no writes."""
        assert self._file is not None, "the journal is not open"
        self._follow(append(self._file, event, self.told, **values))

    def touch(self) -> None:
        """A sign of life for who cannot see the lock: another machine on a shared folder."""
        try:
            os.utime(self.folder / FILE)
        except OSError as error:
            self.told(error)  # nothing waits yet; the next event will
        else:
            self.told(None)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def planned(self) -> int:
        """How many trials the sweep is to have, extensions counted."""
        return int(self.extension.get("planned") or self.header.get("trials", 0))

    @property
    def complete(self) -> bool:
        """Whether every planned trial has ended."""
        return bool(self.planned) and sum(trial.ended for trial in self.trials.values()) >= self.planned

    def rest(self) -> None:
        """No worker has any trial: their driver is gone."""
        for trial in self.trials.values():
            trial.occupied(None)
            if trial.state == "running":
                trial.state = "pending"

    def named(self, path: str) -> str:
        """How the journal names a checkpoint. path: as Ray says it."""
        return os.path.relpath(path, places.root(self.home))

    def _inside(self, path: str) -> str:
        """Where it is: what a journal from elsewhere names there is read, and removed when it is old."""
        root = places.root(self.home)
        found = os.path.normpath(os.path.join(root, path))
        if not Path(found).is_relative_to(root):
            raise UserError(f"{self.folder / FILE} names a checkpoint that is not in the sweep's folder: {path!r}")
        return bucket.below(self.home, os.path.relpath(found, root))

    def _catch_up(self) -> None:
        for event in self._reader.new():
            self._follow(event)

    def _follow(self, record: Mapping[str, Any]) -> None:
        event, self.last = record["event"], float(record["at"])
        if event == "launch":
            self.rest()
            about = dict(record.get("about", {}))
            self.launches.append(Launch(str(record["host"]), int(record["pid"]), self.last, self.last, about=about))
        if self.launches and not self.launches[-1].state and event not in ("extend", "retry"):  # may come between two
            self.launches[-1].last = self.last
        if "trial" in record:
            self._follow_trial(int(record["trial"]), event, record)
        elif event == "sweep":
            self.header = dict(record)
        elif event == "warm":
            for told in record["trials"]:
                reports = {int(epoch): dict(metrics) for epoch, metrics in told["reports"].items()}
                self.warm[told["trial"]] = Trial(told["trial"], dict(told["point"]), "finished", reports=reports)
        elif event == "extend":
            self._extend(record)
        elif event == "wait":
            self.waiting = str(record["reason"])
        elif event == "answer":
            self.answers[str(record["request"])] = str(record["text"])
        elif event == "left":
            self.rest()
            self.waiting = ""
            self.launches[-1].state, self.launches[-1].reason = str(record["state"]), str(record["reason"])

    def _extend(self, record: Mapping[str, Any]) -> None:
        for key in ("trials", "planned"):
            if record[key]:
                self.extension[key] = int(record[key])
        for key in ("hours", "gpu_hours"):
            self.extension[key] = self.extension.get(key, 0.0) + float(record[key])

    def _follow_trial(self, number: int, event: str, record: Mapping[str, Any]) -> None:
        if event == "point":
            note = dict(record.get("note", {}))
            self.trials[number] = Trial(number, dict(record["point"]), note=note, drawn_at=self.last)
            return
        trial, at = self.trials[number], self.last
        if event == "start":
            trial.state, trial.since, trial.launch = "running", at, len(self.launches) - 1
        elif event == "report":
            trial.state = "running"
            trial.reports[int(record["epoch"])] = dict(record["metrics"])
            # an epoch that is trained again after a kill keeps its place among the reports: rules replay them in order
            trial.reported_at.setdefault(int(record["epoch"]), at)
            trial.stop = str(record.get("stop", ""))
            trial.place = {key: str(record[key]) for key in ("host", "gpu") if key in record}
            trial.occupied(at)
        elif event == "checkpoint":
            trial.checkpoints[int(record["epoch"])] = self._inside(str(record["path"]))
            trial.losses = 0
            trial.occupied(at)
        elif event == "exploit":
            trial.schedule.append(Change(int(record["epoch"]), dict(record["point"]), int(record["donor"])))
        elif event == "end":
            trial.state, trial.reason, trial.ended_at = str(record["state"]), str(record["reason"]), at
            trial.occupied(at)
            trial.occupied(None)
        elif event in ("pause", "retry", "loss", "crowded"):
            trial.occupied(None)
            trial.state, trial.reason = "pending", ""
            trial.losses = trial.losses + 1 if event == "loss" else 0
            trial.crowded = trial.crowded or event == "crowded"


def traceback_file(folder: Path, number: int) -> Path:
    """Where a trial's traceback lies, if it has one."""
    return folder / f"trial-{number:04d}.traceback.txt"


def running(folder: Path) -> bool:
    """Whether a driver holds the journal now."""
    return taken(folder / FILE)
