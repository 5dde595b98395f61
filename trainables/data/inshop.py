"""In-Shop Clothes Retrieval (DeepFashion, Liu et al., CVPR 2016): a class an article, queries against a gallery."""

from typing import ClassVar

from trainables.data.listing import GALLERY, QUERY, Entry, FileDataset, Listing, manifest_lines
from trainables.errors import UserError, unknown

LIST = "list_eval_partition.txt"
HEADER = ("image_name", "item_id", "evaluation_status")


class InShop(FileDataset):
    """data_dir: the folder with list_eval_partition.txt and img/ (None: `data_root()/inshop`).

    The folders of the official archives, Eval/ and Img/, may also stand between. Super-class: as in WOMEN/Dresses.
    """

    name: ClassVar = "inshop"
    home: ClassVar = "get In-shop Clothes Retrieval from mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html"
    official: ClassVar = {"train": (25882, 3997), "test query": (14218, 3985), "test gallery": (12612, 3985)}

    def needed(self) -> tuple[str, ...]:
        official = (self.folder / "Eval" / LIST).exists() and not (self.folder / LIST).exists()
        return (f"Eval/{LIST}",) if official else (LIST,)

    def read(self) -> Listing:
        """Two header lines: how many images, and the columns; then `img/WOMEN/Dresses/id_.../1.jpg id_... train`."""
        file = self.folder / self.needed()[0]
        lines = manifest_lines(self.name, file)
        if len(lines) < 2 or tuple(lines[1][1].split()) != HEADER:
            raise UserError(f"{self.name}: the second line of {file} is not {' '.join(HEADER)!r}")
        if not lines[0][1].isdigit() or int(lines[0][1]) != len(lines) - 2:
            raise UserError(f"{self.name}: {file} announces {lines[0][1]!r} images and lists {len(lines) - 2}")
        below = "Img/" if (self.folder / "Img").is_dir() and not (self.folder / "img").is_dir() else ""
        listing: Listing = {"train": [], QUERY: [], GALLERY: []}
        for number, line in lines[2:]:
            words = line.split()
            parts = words[0].split("/")
            if len(words) != 3 or len(parts) < 4:
                raise UserError(f"{self.name}: line {number} of {file} is not an image, its item and its use: {line!r}")
            if words[2] not in listing:
                raise unknown("use of an image", words[2], listing, where=f"{self.name}: line {number} of {file}")
            listing[words[2]].append(Entry(below + words[0], words[1], "/".join(parts[1:3])))
        return listing
