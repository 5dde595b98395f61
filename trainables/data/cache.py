"""The pictures of a data set of files, decoded once and no larger than a recipe needs: dataset.cache=memmap.

    data_root()/cache/NAME-KEY/    pixels.u8 (one picture after another, uint8 RGB), index.npy, meta.json

Every process of a machine maps the same file: its pages are in memory once. A picture keeps its shape; its shorter side
is brought to that of the recipe, and left as it is where it is shorter already. Resize to that side has nothing left to
do then, and the pixels are those of the file's own path. A crop of a random size starts from fewer pixels than the
file's: an approximation, unless the recipe resizes before it crops.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from torchvision.transforms.v2 import InterpolationMode

from trainables.data import geometry
from trainables.data.cache_build import build
from trainables.data.cached_images import FORMAT, CachedImages, CacheUnusable
from trainables.data.datasets import Progress, RetrievalDataset, data_root, image_sets
from trainables.data.files import FileImages
from trainables.data.sealing import listing_files
from trainables.data.splits import LabelledImages, RetrievalSplit
from trainables.data.transforms import BatchTransform
from trainables.errors import UserError

BILINEAR = ("bilinear", InterpolationMode.BILINEAR, 2)  # as torchvision lets it be written
_keys: dict[tuple[str, int, bytes], str] = {}  # what this process has found: it looks at half a million files once


class Cached:
    """A data set of files whose pixels come from a cache. `ensure` builds it, and so does who asks before.

    name: of the data set; side: of the recipe, `short_side`.
    """

    def __init__(self, dataset: RetrievalDataset, name: str, side: int) -> None:
        self.dataset, self.folder = dataset, dataset.folder
        self._name, self._side = name, side
        self._opened: tuple[CachedImages, np.ndarray] | None = None  # with the row of the files for each of its own

    def ensure(self, progress: Progress | None = None) -> None:
        """Decodes every picture where the cache of just these files is not there. UserError: a bad one, no space."""
        self.dataset.ensure(progress)
        _keys.clear()  # files may have changed since this process last looked
        self._opened = self._open(progress)

    def train(self) -> LabelledImages:
        return self._cached(self.dataset.train())

    def test(self) -> tuple[RetrievalSplit, ...]:
        return tuple(
            replace(
                split,
                query=self._cached(split.query),
                gallery=None if split.gallery is None else self._cached(split.gallery),
            )
            for split in self.dataset.test()
        )

    @property
    def fingerprint(self) -> str:
        """Of the files."""
        return self.dataset.fingerprint

    def summary(self) -> str:
        """How much there is and where, on one line."""
        images, _ = self._images()
        told = f"{len(images):,} images, shorter side at most {self._side}, {images.size / 1e9:.2f} GB"
        return f"cache: {told} in {images.folder}"

    def _cached(self, images: LabelledImages) -> LabelledImages:
        source, files = self._images()
        return replace(images, source=source, rows=np.searchsorted(files, images.rows))

    def _images(self) -> tuple[CachedImages, np.ndarray]:
        self._opened = self._opened or self._open(None)
        return self._opened

    def _open(self, progress: Progress | None) -> tuple[CachedImages, np.ndarray]:
        with listing_files():  # one cache for all splits: which files, no label
            sets = list(image_sets(self.dataset).values())
        rows = np.unique(np.concatenate([images.rows for images in sets]))
        files = sets[0].source
        assert isinstance(files, FileImages) and all(images.source is files for images in sets)
        folder = data_root() / "cache" / f"{self._name}-{_key(files, rows, self._side)[:16]}"
        try:
            return CachedImages(folder), rows
        except CacheUnusable:
            build(folder, files, rows, self._side, progress or (lambda what, done, total: None))
            return CachedImages(folder), rows


def short_side(transforms: Mapping[str, BatchTransform]) -> int:
    """The shorter side that the first step of each of these, by name, has a use for: the largest of them.

    UserError where a first step means another part of the picture when the picture is smaller.
    """
    sides = []
    for name, transform in transforms.items():
        steps = [step for step in transform.steps if not isinstance(step, geometry.RandomHorizontalFlip)]
        first = steps[0] if steps else None
        if not isinstance(first, geometry.Resize | geometry.RandomResizedCrop) or first.step.size is None:
            raise UserError(
                f"dataset.cache=memmap: transform.{name} must begin with RandomResizedCrop or a Resize to a size, "
                "which mean the same on a smaller picture"
            )
        if isinstance(first, geometry.Resize) and not (first.step.interpolation in BILINEAR and first.step.antialias):
            raise UserError(
                f"dataset.cache=memmap: the cache resizes with interpolation=bilinear and antialias=true, "
                f"transform.{name} asks for another Resize"
            )
        sides.append(max(first.step.size))
    return max(sides)


def _key(files: FileImages, rows: np.ndarray, side: int) -> str:
    """Equal for equal pixels: of the decoder, the side, and path, size and time of the last change of every file."""
    token = (str(files.root), side, hashlib.sha256(files.listing + rows.tobytes()).digest())
    if token not in _keys:
        programs = [f"{name} {version(name)}" for name in ("torch", "torchvision", "pillow")]
        digest = hashlib.sha256(json.dumps([FORMAT, side, programs]).encode())
        for row in rows.tolist():
            digest.update(json.dumps(files.stamp(row)).encode())
        _keys[token] = digest.hexdigest()
    return _keys[token]
