"""Stanford Online Products (Song et al., CVPR 2016): pictures of articles for sale, a class an article."""

from typing import ClassVar

from trainables.data.listing import Entry, FileDataset, Listing, manifest_lines
from trainables.errors import UserError

COLUMNS = "image_id class_id super_class_id path"


class StanfordOnlineProducts(FileDataset):
    """data_dir: the folder with Ebay_train.txt, Ebay_test.txt and the pictures (None: `data_root()/sop`)."""

    name: ClassVar = "sop"
    home: ClassVar = "get Stanford Online Products from cvgl.stanford.edu/projects/lifted_struct"
    official: ClassVar = {"train": (59551, 11318), "test": (60502, 11316)}

    def needed(self) -> tuple[str, ...]:
        return "Ebay_train.txt", "Ebay_test.txt"

    def read(self) -> Listing:
        return {split: self._entries(f"Ebay_{split}.txt") for split in ("train", "test")}

    def _entries(self, file: str) -> list[Entry]:
        lines = manifest_lines(self.name, self.folder / file)
        if not lines or lines[0][1].split() != COLUMNS.split():
            raise UserError(f"{self.name}: {self.folder / file} does not begin with the line {COLUMNS!r}")
        entries = []
        for number, line in lines[1:]:
            words = line.split(maxsplit=3)
            if len(words) != 4:
                raise UserError(f"{self.name}: line {number} of {self.folder / file} is not {COLUMNS!r}: {line!r}")
            entries.append(Entry(words[3], words[1], words[2]))
        return entries
