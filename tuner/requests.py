"""What other commands ask of a running driver: files in the sweep's folder, so that any machine that shares it can;
of a sweep in S3 also objects there, which its mirror brings.

The driver takes them between two events and answers in the journal.
"""

import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables import bucket
from tuner import mirror
from tuner.journal import Journal

FOLDER = mirror.REQUESTS
REFUSED = "refused: "  # how an answer begins that says no
SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Request:
    """kind: stop (now: bool), concurrent (number), extend (trials, hours, gpu_hours), retry (states)."""

    id: str
    kind: str
    values: dict[str, Any]


def ask(folder: Path, kind: str, **values: Any) -> str:
    """Leaves a request, whole or not at all; returns its id."""
    identity, content = uuid.uuid4().hex, json.dumps({"kind": kind, "values": values})
    if mirror.is_elsewhere(folder):
        with mirror.refused(folder):
            bucket.write(_there(folder, identity), content.encode())
        return identity
    place = folder / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)  # who may write here commands the driver
    draft = place / f"{identity}.draft"
    draft.write_text(content)
    os.replace(draft, place / f"{identity}.json")
    return identity


def take(folder: Path) -> list[Request]:
    """The requests that wait, oldest first; they wait no longer."""
    found = []
    for file in sorted((folder / FOLDER).glob("*.json"), key=lambda file: file.stat().st_mtime):
        request = _read(file)
        try:
            file.unlink()
        except OSError:
            break  # it waits until the storage can be written to
        found.append(request)
    return found


def _read(file: Path) -> Request:
    """A file that nobody's `ask` has written is a request of no kind, and refused as that."""
    try:
        asked = json.loads(file.read_text())
        return Request(file.stem, str(asked["kind"]), dict(asked["values"]))
    except (ValueError, TypeError, KeyError):
        return Request(file.stem, "", {})


def withdraw(folder: Path, identity: str) -> None:
    """Takes a request back that nobody has answered."""
    (folder / FOLDER / f"{identity}.json").unlink(missing_ok=True)
    if mirror.is_elsewhere(folder):
        with mirror.refused(folder):
            bucket.delete(_there(folder, identity))


def answer(folder: Path, identity: str, seconds: float) -> str | None:
    """What the driver says to the request; None where it says nothing for so long."""
    until, journal = time.monotonic() + seconds, Journal(folder)
    while time.monotonic() < until:
        mirror.pull(folder)
        journal = journal.again()
        said = journal.answers.get(identity)
        if said is not None:
            return said
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return None


def _there(folder: Path, identity: str) -> str:
    return bucket.below(mirror.desk(folder), FOLDER, f"{identity}.json")
