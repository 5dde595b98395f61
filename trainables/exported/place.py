"""A folder that appears whole or not at all, in the place of an earlier one of its kind."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from trainables.errors import UserError


def check_place(folder: Path, kind: str, is_one: Callable[[Path], bool]) -> None:
    """UserError where the folder is there and is neither empty nor `kind`, such as "an export"."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() and not is_one(folder):
        raise UserError(f"--out={str(folder)!r} is there and is not {kind}: name another folder")


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; without an error it is `folder` afterwards. UserError where none can be made."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
            made = Path(work) / "made"
            made.mkdir(mode=0o755)
            yield made
            if folder.exists():
                folder.rename(Path(work) / "earlier")
            made.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {str(folder)!r}: {error.strerror or error}") from None
