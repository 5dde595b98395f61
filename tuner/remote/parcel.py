"""What a cluster gets from this machine: both packages as they are here, and the files that the command names.

Nothing else: no data, no environment, no results. Equal parcels have one name, so a second command sends nothing.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trainables
import tuner
from trainables.errors import UserError

PACKAGES = (trainables, tuner)
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")
SUFFIXES = (".yaml", ".yml")
MOST_BYTES = 20_000_000  # of one file that goes with it


@contextmanager
def packed(words: Sequence[str]) -> Iterator[tuple[Path, list[str]]]:
    """The parcel's folder, and the words of a command with its files as they are named in there.

    Sweep files among the words (*.yaml that are here) go with it; a word that names none stays as it is: a folder on
    the cluster, a value.
    """
    with tempfile.TemporaryDirectory(prefix="roadmap-tune-parcel-") as place:
        folder = Path(place)
        for package in PACKAGES:
            source = Path(str(package.__file__)).parent
            shutil.copytree(source, folder / source.name, ignore=LEFT_OUT)
        yield folder, [_sent(word, folder) for word in words]


def _sent(word: str, folder: Path) -> str:
    file = Path(word).expanduser()
    if file.suffix not in SUFFIXES or not file.is_file():
        return word
    if file.stat().st_size > MOST_BYTES:
        raise UserError(f"{word} has {file.stat().st_size} bytes: that is no sweep file")
    here = Path.cwd()
    inside = file.resolve().relative_to(here) if file.resolve().is_relative_to(here) else Path(file.name)
    target = folder / inside
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    return str(inside)
