"""The ledger of a sweep's confirmations: what was trained, and how often the test split was looked at.

One JSON line an event in `confirm.jsonl`, beside the journal and written like it, before anything acts on it:

    {"event": "confirmation", "number": 1, "launch": "", "again": false, "arms": [...], "seeds": [...]}
    {"event": "report", "repeat": "0007-seed334", "epoch": 3, "metrics": {}}        one epoch of one training
    {"event": "checkpoint", "repeat": "0007-seed334", "epoch": 3, "path": ""}   below its folder
    {"event": "end", "repeat": "0007-seed334", "state": "finished", "reason": ""}
    {"event": "opened"}                                                             the test split, from now on
    {"event": "test", "repeat": "0007-seed334", "metrics": {"test/map_at_r": 0.3}, "values": "FILE.npz"}
    {"event": "verdict", "verdicts": [...]}

Every event but the first belongs to the confirmation that began last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from trainables import bucket
from tuner import places
from tuner.confirmation.verdict import Verdict
from tuner.events import append, events, take
from tuner.space import Point

FILE = "confirm.jsonl"


@dataclass(frozen=True)
class Arm:
    """One point that is trained over every seed, for as many epochs as were best in validation."""

    role: str  # "defaults", "winner", "place 2", ...
    trial: int
    point: Point
    epochs: int

    @property
    def name(self) -> str:
        return f"the {self.role}"


@dataclass
class Repeat:
    """An arm's training from one seed. state: pending, running, finished, infeasible or failed."""

    arm: Arm
    seed: int
    state: str = "pending"
    reason: str = ""
    reports: dict[int, dict[str, float]] = field(default_factory=dict)  # epoch -> metrics
    reported_at: dict[int, float] = field(default_factory=dict)  # epoch -> unix seconds
    checkpoints: dict[int, str] = field(default_factory=dict)  # epoch -> its folder, on a disk or in S3
    test: dict[str, float] | None = None  # "test/map_at_r" -> mean; None: not measured
    values: str = ""  # the file of its metrics by query, below the sweep's folder

    @property
    def key(self) -> str:
        return f"{self.arm.trial:04d}-seed{self.seed}"

    @property
    def trained(self) -> str | None:
        """The place of the checkpoint after its last epoch, where it is there."""
        place = self.checkpoints.get(self.arm.epochs)
        return place if place is not None and bucket.exists(place) else None

    @property
    def newest(self) -> str | None:
        """The place of the latest checkpoint that is still there."""
        found = (self.checkpoints[epoch] for epoch in sorted(self.checkpoints, reverse=True))
        return next((place for place in found if bucket.exists(place)), None)


@dataclass
class Confirmation:
    """Arms x seeds, and what came of them."""

    number: int
    launch: str
    again: bool  # the test split had been seen before
    arms: tuple[Arm, ...]  # the defaults first
    seeds: tuple[int, ...]
    repeats: dict[str, Repeat]
    opened: bool = False
    verdicts: tuple[Verdict, ...] | None = None

    @property
    def complete(self) -> bool:
        return self.verdicts is not None

    @property
    def trained(self) -> bool:
        """Whether every training has come to an end that its settings are to blame for, or to none."""
        return all(repeat.state in ("finished", "infeasible") for repeat in self.repeats.values())

    @property
    def failed(self) -> list[Repeat]:
        """Trainings that a bug or lost workers ended."""
        return [repeat for repeat in self.repeats.values() if repeat.state == "failed"]

    @property
    def tested(self) -> list[Repeat]:
        return [repeat for repeat in self.repeats.values() if repeat.test is not None]

    def of_arm(self, arm: Arm) -> list[Repeat]:
        """Its trainings in the order of the seeds."""
        return [repeat for repeat in self.repeats.values() if repeat.arm == arm]


class Ledger:
    """Appends events for one process at a time; `confirmations` follows them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self.confirmations: list[Confirmation] = []
        self._file: IO[str] | None = None

    @classmethod
    def read(cls, folder: Path) -> "Ledger":
        """As it stands on disk, for looking at."""
        ledger = cls(folder)
        for event in events(ledger.path):
            ledger._follow(event)
        return ledger

    def open(self) -> None:
        """Takes the ledger for writing; UserError where another process has it."""
        self._file = take(self.path, f"a confirmation in {self.folder} is running")
        self.confirmations.clear()
        for event in events(self.path):
            self._follow(event)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, event: str, **values: Any) -> None:
        """Appends one event; it is on disk when this returns."""
        assert self._file is not None, "the ledger is not open"
        self._follow(append(self._file, event, **values))

    def begin(self, launch: str, arms: Sequence[Arm], seeds: Sequence[int]) -> Confirmation:
        number = len(self.confirmations) + 1
        written = [asdict(arm) for arm in arms]
        self.write("confirmation", number=number, launch=launch, again=self.seen > 0, arms=written, seeds=list(seeds))
        return self.confirmations[-1]

    @property
    def seen(self) -> int:
        """In how many confirmations the test split was looked at."""
        return sum(confirmation.opened for confirmation in self.confirmations)

    def _follow(self, record: Mapping[str, Any]) -> None:
        event = record["event"]
        if event == "confirmation":
            self.confirmations.append(_begun(record))
            return
        confirmation = self.confirmations[-1]
        if event == "opened":
            confirmation.opened = True
        elif event == "verdict":
            confirmation.verdicts = tuple(Verdict(**verdict) for verdict in record["verdicts"])
        else:
            _follow_repeat(confirmation.repeats[record["repeat"]], record, self.folder)


def _begun(record: Mapping[str, Any]) -> Confirmation:
    arms = tuple(Arm(**arm) for arm in record["arms"])
    seeds = tuple(int(seed) for seed in record["seeds"])
    repeats = [Repeat(arm, seed) for seed in seeds for arm in arms]
    by_key = {repeat.key: repeat for repeat in repeats}
    return Confirmation(record["number"], record["launch"], record["again"], arms, seeds, by_key)


def _follow_repeat(repeat: Repeat, record: Mapping[str, Any], folder: Path) -> None:
    event = record["event"]
    if event == "report":
        repeat.state, repeat.reason = "running", ""
        repeat.reports[int(record["epoch"])] = dict(record["metrics"])
        repeat.reported_at[int(record["epoch"])] = float(record["at"])
    elif event == "checkpoint":
        repeat.checkpoints[int(record["epoch"])] = bucket.below(places.home(folder), str(record["path"]))
    elif event == "end":
        repeat.state, repeat.reason = str(record["state"]), str(record["reason"])
    elif event == "test":
        repeat.test, repeat.values = dict(record["metrics"]), str(record["values"])
