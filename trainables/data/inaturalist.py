"""iNaturalist-2018 (Van Horn et al., CVPR 2018) split class-disjointly for retrieval (Brown et al., ECCV 2020)."""

import json
from typing import ClassVar

from trainables.data.listing import Entry, FileDataset, Listing, manifest_lines
from trainables.errors import UserError, unknown

FOLDER = "folder"
RANKS = ("supercategory", "kingdom", "phylum", "class", "order", "family", "genus")
CATEGORIES = "train2018.json"


class INaturalist(FileDataset):
    """data_dir: the folder with Inat_dataset_splits/ and the pictures (None: `data_root()/inaturalist`).

    A path ends in SUPER-CLASS/CLASS/FILE. super_class: that folder, or a rank that train2018.json has for the class.
    """

    name: ClassVar = "inaturalist"
    home: ClassVar = (
        "get the pictures and train2018.json of iNaturalist 2018 from github.com/visipedia/inat_comp, "
        "and Inat_dataset_splits from github.com/Andrew-Brown1/Smooth_AP"
    )
    official: ClassVar = {"train": (325846, 5690), "test": (136093, 2452)}

    def __init__(self, data_dir: str | None = None, super_class: str = FOLDER) -> None:
        super().__init__(data_dir)
        if super_class not in (FOLDER, *RANKS):
            raise unknown("super_class of inaturalist", super_class, (FOLDER, *RANKS))
        self._rank = super_class

    def needed(self) -> tuple[str, ...]:
        lists = tuple(f"Inat_dataset_splits/Inaturalist_{split}_set1.txt" for split in ("train", "test"))
        return lists if self._rank == FOLDER else (*lists, CATEGORIES)

    def read(self) -> Listing:
        above = {} if self._rank == FOLDER else self._ranks()
        lists = zip(("train", "test"), self.needed(), strict=False)
        return {split: self._entries(file, above) for split, file in lists}

    def _entries(self, file: str, above: dict[str, str]) -> list[Entry]:
        entries = []
        for number, line in manifest_lines(self.name, self.folder / file):
            parts = line.strip("/").split("/")
            if len(parts) < 3:
                raise UserError(f"{self.name}: line {number} of {file} is not .../SUPER-CLASS/CLASS/FILE: {line!r}")
            super_class, species = parts[-3:-1]
            if self._rank != FOLDER and species not in above:
                raise UserError(f"{self.name}: {CATEGORIES} has no {self._rank} for class {species} of {line!r}")
            entries.append(Entry("/".join(parts), species, above.get(species, super_class)))
        return entries

    def _ranks(self) -> dict[str, str]:
        """Class (the category's id) -> its rank."""
        file = self.folder / CATEGORIES
        try:
            categories = json.loads(file.read_text(encoding="utf-8"))["categories"]
            return {str(category["id"]): str(category[self._rank]) for category in categories if self._rank in category}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.name}: {file} has no list of categories: {error!r}") from None
