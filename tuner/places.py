"""Where the relative paths of a sweep file lie: `storage`, and a sqlite store's file."""

import os
from pathlib import Path

from trainables.errors import UserError

ROOT = "ROADMAP_TUNE_STORAGE"  # set where a cluster's nodes are: the folder that all of them share
SHIPPED = "ROADMAP_TUNE_SHIPPED"  # set where this code was sent for one command, and its folder goes with it


def placed(path: str, key: str) -> Path:
    """Absolute as written; relative: below $ROADMAP_TUNE_STORAGE, or the working folder where that is not set.

    key: of the sweep file, for the UserError where a relative path would lie in a folder that does not last.
    """
    if "://" in path:
        raise UserError(f"{key}={path!r}: object stores are not supported; a folder that all nodes share is meant")
    file, root = Path(path).expanduser(), os.environ.get(ROOT)
    if root:
        file = Path(root).expanduser() / file
    elif os.environ.get(SHIPPED) and not file.is_absolute():
        raise UserError(
            f"{key}={path!r} is relative, and the cluster's head has no {ROOT}, the folder that its nodes share: "
            f"--set {key}=... with an absolute path"
        )
    return file.resolve()
