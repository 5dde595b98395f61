"""CUB-200-2011 (Wah et al., 2011): 200 species of birds; the first half of the species trains, the other half tests."""

from typing import ClassVar

from trainables.data.listing import Entry, FileDataset, Listing, manifest_lines
from trainables.errors import UserError


class CUB200(FileDataset):
    """data_dir: the folder with classes.txt and images/ (None: `data_root()/cub`).

    Super-class: the last word of the species' name.
    """

    name: ClassVar = "cub"
    home: ClassVar = "get CUB-200-2011 from www.vision.caltech.edu/datasets/cub_200_2011"
    official: ClassVar = {"train": (5864, 100), "test": (5924, 100)}

    def needed(self) -> tuple[str, ...]:
        return "classes.txt", "images"

    def read(self) -> Listing:
        species = sorted(self._species())
        half = len(species) // 2
        return {"train": self._entries(species[:half]), "test": self._entries(species[half:])}

    def _species(self) -> list[str]:
        """The class folders, which classes.txt lists as `number folder`."""
        file = self.folder / "classes.txt"
        species = []
        for number, line in manifest_lines(self.name, file):
            words = line.split()
            if len(words) != 2:
                raise UserError(f"{self.name}: line {number} of {file} is not a number and a class: {line!r}")
            species.append(words[1])
        unlisted = {path.name for path in (self.folder / "images").iterdir() if path.is_dir()} - set(species)
        if unlisted:
            raise UserError(f"{self.name}: images/{min(unlisted)} is not a class of {file}")
        return species

    def _entries(self, species: list[str]) -> list[Entry]:
        entries = []
        for name in species:
            files = sorted(path.name for path in (self.folder / "images" / name).glob("*.jpg"))
            entries += [Entry(f"images/{name}/{file}", name, name.rpartition("_")[2]) for file in files]
        return entries
