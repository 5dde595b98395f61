"""Where numbers come from: the code's commit, versions, machine, user and data, as tags of MLflow's runs.

They are in the journal, one set a launch, so that what is written afterwards says what was, not what is.
"""

import contextlib
import getpass
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trainables.errors import UserError
from trainables.experiment import Experiment

COMMIT, DIRTY = "mlflow.source.git.commit", "mlflow.source.git.dirty"
SENT = "ROADMAP_TUNE_COMMIT"  # a cluster's job is sent the code without its repository
PACKAGES = ("roadmap-tune", "torch", "ray", "mlflow")
SECONDS = 10.0


def of_launch() -> dict[str, str]:
    """Of this process: user, host, command, versions, and the commit where there is one."""
    program, *words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    program = "roadmap-tune" if program == "__main__.py" else program
    known = {
        "mlflow.source.name": " ".join([program, *words[:1]]),  # a column of its table, where it shows what is behind /
        "launched_by": shlex.join([program, *words]),
        "mlflow.source.type": "LOCAL",
        "host": platform.node(),
        "version.python": platform.python_version(),
    }
    with contextlib.suppress(KeyError, OSError, ImportError):  # an account without a name
        known["mlflow.user"] = getpass.getuser()
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            known[f"version.{package}"] = version(package)
    sha, dirty = commit()
    return {**known, **({COMMIT: sha, DIRTY: str(dirty).lower()} if sha else {})}


def commit() -> tuple[str, bool]:
    """The commit that this code is of, and whether tracked files differ from it; ("", False) where none is known."""
    if SENT in os.environ:
        sha, plus, _ = os.environ[SENT].partition("+")
        return sha, bool(plus)
    file = Path(__file__)
    if not _git(file.parent, "ls-files", "--error-unmatch", file.name):  # installed inside somebody's repository
        return "", False
    return _git(file.parent, "rev-parse", "HEAD"), bool(_git(file.parent, "status", "--porcelain", "-uno"))


def sent() -> dict[str, str]:
    """What a job's environment says of the commit."""
    sha, dirty = commit()
    return {SENT: sha + ("+" if dirty else "")} if sha else {}


def fingerprints(data: Sequence[Experiment]) -> dict[str, str]:
    """Data set -> fingerprint, of those that can be read on this machine."""
    from trainables.building import build_dataset

    found = {}
    for experiment in data:
        with contextlib.suppress(UserError, OSError):
            found[experiment.dataset.name] = build_dataset(experiment).fingerprint
    return found


def of_data(header: Mapping[str, Any]) -> dict[str, str]:
    """The fingerprints in a journal's first event, as tags."""
    return {f"data.{name}": str(fingerprint) for name, fingerprint in header.get("data", {}).items()}


def _git(folder: Path, *words: str) -> str:
    """What git prints, stripped; "" where it fails or is not there."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, env=clean, capture_output=True, text=True, timeout=SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
