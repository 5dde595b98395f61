"""Where a sweep stands, from its folder alone: which driver has it, if one has, and what was last heard of it."""

import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from trainables import bucket
from trainables.errors import UserError
from tuner import mirror, places
from tuner.journal import FILE, Journal, running
from tuner.lease import SILENT_S
from tuner.sweep import Sweep, load_sweep


@dataclass(frozen=True)
class Standing:
    """A sweep's journal, and whether a driver writes it now."""

    journal: Journal
    running: bool
    silent_s: float  # since the driver's last sign of life

    @classmethod
    def found(cls, folder: Path) -> "Standing | None":
        """None where there is no sweep."""
        driven = mirror.pull(folder)
        return cls._seen(Journal.read(folder), driven) if (folder / FILE).is_file() else None

    @classmethod
    def of(cls, folder: Path) -> "Standing":
        """Of a sweep that is there."""
        driven = mirror.pull(folder)
        return cls._seen(Journal.read(folder), driven)

    def again(self) -> "Standing":
        """How it stands now; while it runs, only what its journal has gained is read."""
        driven = mirror.pull(self.journal.folder)
        journal = self.journal.again() if self.running else Journal.read(self.journal.folder)
        return self._seen(journal, driven)

    @classmethod
    def _seen(cls, journal: Journal, driven: bool) -> "Standing":
        """A lock is seen on this machine; of another one the journal's time tells. driven: a lease in S3 says so."""
        folder = journal.folder
        silent = max(0.0, time.time() - (folder / FILE).stat().st_mtime)
        last = journal.launches[-1] if journal.launches else None
        heard = driven or (last is not None and last.host != platform.node() and silent < SILENT_S)
        elsewhere = last is not None and not last.state and heard
        standing = cls(journal, running(folder) or elsewhere, silent)
        if not standing.running:
            journal.rest()
        return standing

    @property
    def where(self) -> str:
        """ "HOST (pid N)" of the latest driver."""
        last = self.journal.launches[-1]
        return f"{last.host} (pid {last.pid})"

    def words(self) -> str:
        """Running, finished, stopped or interrupted, where, why."""
        journal = self.journal
        if self.running and journal.launches and not journal.launches[-1].state:
            waiting = f"; waiting: {journal.waiting}" if journal.waiting else ""
            return f"running on {self.where}, last event {_age(time.time() - journal.last)} ago{waiting}"
        if self.running:
            return "starting"
        if journal.complete:
            return "finished"
        if not journal.launches:
            return "interrupted before its first trial"
        last = journal.launches[-1]
        if not last.state:
            return f"interrupted: nothing was heard of its driver on {self.where} for {_age(self.silent_s)}"
        return f"{last.state}: {last.reason}" if last.reason else last.state


def located(path: str, settings: list[str]) -> Sweep:
    """The sweep of a file, or of a sweep's own folder, here or in S3; UserError where there is none."""
    folder = Path(path)
    if bucket.is_bucket(path):
        folder = places.folder_at(path)
        mirror.pull(folder)
    if not (folder / FILE).is_file():
        if bucket.is_bucket(path):
            raise UserError(f"there is no sweep in {path}")
        return load_sweep(path, settings)
    if settings:
        raise UserError("--set lays values over a sweep file, and this is a folder")
    written = {
        **Journal.read(folder).header["sweep"],
        "name": folder.name,
        "storage": places.storage_of(folder.absolute()),
    }
    return Sweep.model_validate_json(json.dumps(written))


def existing(sweep: Sweep) -> Standing:
    """UserError where the sweep was never launched."""
    standing = Standing.found(sweep.folder)
    if standing is None or not standing.journal.header:
        raise UserError(f"there is no sweep {sweep.name!r} in {sweep.place}")
    if "epochs" not in standing.journal.header:
        raise UserError(f"the sweep in {sweep.place} is an earlier version's: `run --fresh` sets it aside")
    return standing


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
