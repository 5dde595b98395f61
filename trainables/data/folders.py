"""Pictures of one's own, one folder a class."""

import os
from pathlib import Path
from typing import ClassVar

from trainables.data.listing import Entry, FileDataset, Listing, check_split_settings, split_by_class
from trainables.errors import UserError

SPLITS = ("train", "test")
ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".jp2",
    ".avif",
)


class ClassFolders(FileDataset):
    """data_dir: a folder of class folders, CLASS/FILE or SUPER-CLASS/CLASS/FILE (None: `data_root()/folder`).

    Where it holds train/ and test/, the classes are below those; else `test_share` of the classes, of each super-class,
    are test classes, chosen by `split_seed`. Names that begin with a dot and files that are no pictures by their
    ending are left aside.
    """

    name: ClassVar = "folder"
    home: ClassVar = "it holds one folder of pictures a class, or train/ and test/ that do"

    def __init__(self, data_dir: str | None = None, test_share: float = 0.5, split_seed: int = 0) -> None:
        super().__init__(data_dir)
        check_split_settings(self.name, test_share, split_seed)
        self._test_share, self._split_seed = test_share, split_seed

    def needed(self) -> tuple[str, ...]:
        return (".",)

    def read(self) -> Listing:
        self.left_aside.clear()
        given = [split for split in SPLITS if _folders(self.folder / split)]
        if not given:
            return split_by_class(self.name, self._entries(""), self._test_share, self._split_seed)
        if len(given) < len(SPLITS):
            raise UserError(f"{self.name}: {self.folder} has {given[0]}/ alone: {self.home}")
        beside = sorted(set(_folders(self.folder)) - set(SPLITS))
        if beside:
            raise UserError(
                f"{self.name}: {self.folder / beside[0]} stands beside train/ and test/; validation classes are "
                "held out of train/ by experience.holdout: move its classes there, or the folder elsewhere"
            )
        return {split: self._entries(f"{split}/") for split in SPLITS}

    def _entries(self, below: str) -> list[Entry]:
        if stray := self._pictures(below):
            raise UserError(f"{self.name}: {self.folder / below / stray[0]} is in no class folder: {self.home}")
        flat: list[Entry] = []
        deep: list[Entry] = []
        for first in _folders(self.folder / below):
            flat += [Entry(f"{below}{first}/{file}", first, None) for file in self._pictures(f"{below}{first}")]
            for second in _folders(self.folder / below / first):
                place, label = f"{below}{first}/{second}", f"{first}/{second}"
                deep += [Entry(f"{place}/{file}", label, first) for file in self._pictures(place)]
                if deeper := _folders(self.folder / place):
                    raise UserError(
                        f"{self.name}: {self.folder / place / deeper[0]} is too deep: SUPER-CLASS/CLASS/FILE"
                    )
        if flat and deep:
            both = f"{flat[0].path} and {deep[0].path}"
            raise UserError(f"{self.name}: {self.folder} mixes CLASS/FILE and SUPER-CLASS/CLASS/FILE: {both}")
        return flat or deep

    def _pictures(self, place: str) -> list[str]:
        found = []
        for entry in os.scandir(self.folder / place):
            if entry.name.startswith(".") or not entry.is_file():
                continue
            if Path(entry.name).suffix.lower() in ENDINGS:
                found.append(entry.name)
            else:
                self.left_aside.append(f"{place}/{entry.name}".lstrip("/"))
        return sorted(found)


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
