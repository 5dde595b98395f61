"""Where a sweep's files are: its folder on this machine, and its home, the same or a folder in S3."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from trainables import bucket
from trainables.errors import UserError

ROOT = "ROADMAP_TUNE_STORAGE"  # set where a cluster's nodes are: the folder that all of them share
SHIPPED = "ROADMAP_TUNE_SHIPPED"  # set where this code was sent for one command, and its folder goes with it
LONGEST_NAME = 255  # bytes, of a folder
ESCAPE = "="  # in a folder's name for the % of an address: MLflow would read that as an address


def placed(path: str, key: str) -> Path:
    """Absolute as written; relative: below $ROADMAP_TUNE_STORAGE, or the working folder where that is not set.

    key: of the sweep file, for the UserError where a relative path would lie in a folder that does not last.
    """
    if "://" in path:
        raise UserError(f"{key}={path!r}: a folder is meant" + (", or s3://BUCKET/FOLDER" if key == "storage" else ""))
    file, root = Path(path).expanduser(), os.environ.get(ROOT)
    if root:
        file = Path(root).expanduser() / file
    elif os.environ.get(SHIPPED) and not file.is_absolute():
        raise UserError(
            f"{key}={path!r} is relative, and the cluster's head has no {ROOT}, the folder that its nodes share: "
            f"--set {key}=... with an absolute path"
        )
    return file.resolve()


def check_storage(storage: str) -> None:
    """UserError where an address in S3 is none, or too long."""
    if bucket.is_bucket(storage):
        bucket.check("storage", storage)
        if len(_named(storage)) > LONGEST_NAME:
            raise UserError(f"storage={storage!r} is too long: its folder on this machine is named after it")


def folder_of(storage: str, name: str) -> Path:
    """On this machine: where the sweep is, or of one in S3 the desk of its driver, and what others have fetched."""
    if bucket.is_bucket(storage):
        return _desks() / _named(storage) / name
    return placed(storage, "storage") / name


def folder_at(address: str) -> Path:
    """On this machine, of the sweep whose home in S3 the address is."""
    bucket.check("the sweep", address)
    place, mark, query = address.partition("?")
    storage, _, name = place.rstrip("/").rpartition("/")
    return folder_of(storage + mark + query, name)


def storage_of(folder: Path) -> str:
    """The storage that a sweep's folder on this machine belongs to."""
    return unquote(folder.parent.name.replace(ESCAPE, "%")) if folder.parent.parent == _desks() else str(folder.parent)


def home(folder: Path) -> str:
    """Of a sweep's folder on this machine: where its checkpoints are, below which the journal names them."""
    return bucket.below(storage_of(folder), folder.name)


def root(home: str) -> str:
    """Of a home, what Ray's paths begin with."""
    return bucket.key(home) if bucket.is_bucket(home) else os.path.normpath(home)


def for_ray(home: str) -> dict[str, Any]:
    """What Ray's RunConfig takes for a place."""
    if bucket.is_bucket(home):
        return {"storage_path": bucket.key(home), "storage_filesystem": bucket.filesystem(home)}
    return {"storage_path": home}


def _desks() -> Path:
    root = os.environ.get(ROOT)
    if root:
        return Path(root).expanduser().resolve() / "desks"
    import platformdirs

    return platformdirs.user_state_path("roadmap-tune").resolve() / "desks"


def _named(storage: str) -> str:
    """One folder a storage, and its name says which."""
    place, mark, query = storage.partition("?")
    return quote(place.rstrip("/") + (mark + query if query else ""), safe="").replace("%", ESCAPE)
