"""SfM-120k: photographs of landmarks, a class for each 3D model that they were built into; tested on Oxford and Paris.

Radenovic, Tolias, Chum 2018, Fine-tuning CNN Image Retrieval with No Human Annotation, arXiv 1711.02512. As published:

    data_dir/retrieval-SfM-120k-imagenames-clusterids.mat    cids (names of the images), cluster (their models)
    data_dir/ims/<last two letters>/<two before>/<two before>/<cid>
    data_dir/roxford5k, data_dir/rparis6k                    see `revisited`
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.emoji import data_root
from trainables.data.files import BadImage, FileImages
from trainables.data.revisited import NAMES, revisited
from trainables.data.sealing import check_unsealed
from trainables.data.splits import LabelledImages, RetrievalSplit
from trainables.errors import UserError, first_line, unknown

INDEX = "retrieval-SfM-120k-imagenames-clusterids.mat"
PUBLIC = "http://cmp.felk.cvut.cz/cnnimageretrieval/data/train/ims"


class Sfm120k:
    """data_dir: the folder above (None: `sfm120k` in `data_root()`). test_sets: what it is tested on, in this order."""

    def __init__(self, data_dir: str | None = None, test_sets: Sequence[str] = NAMES) -> None:
        if not isinstance(test_sets, list | tuple):
            raise UserError(f"sfm120k: test_sets must be a list of {', '.join(NAMES)}, not {test_sets!r}")
        for name in test_sets:
            if name not in NAMES:
                raise unknown("test set", name, NAMES, where="sfm120k")
        if len(set(test_sets)) < len(test_sets):
            raise UserError(f"sfm120k: a test set is named twice: {', '.join(test_sets)}")
        self.folder = data_root() / "sfm120k" if data_dir is None else Path(data_dir).expanduser()
        self.test_sets = tuple(test_sets)

    def ensure(self, progress: Callable[[str, int, int], None] | None = None) -> None:
        """UserError for the first thing that is not on disk, BadImage for a train image: nothing here can be built."""
        images = self.train()
        self.test()
        source = images.source
        assert isinstance(source, FileImages)
        missing = source.missing()
        told = f"{len(missing)} of {len(images)} images of sfm120k are, {PUBLIC}/ims.tar.gz has them"
        if len(missing) == len(images):
            raise UserError(f"sfm120k: {missing[0]} is missing: {told}")
        if missing:
            raise BadImage(missing[0], "is missing", told)
        if progress is not None:
            progress("sfm120k", len(images), len(images))

    def train(self) -> LabelledImages:
        """Every image of the index, its model the class, from which a sweep holds out its validation."""
        cids, clusters = self._index
        if not (self.folder / "ims").is_dir():
            raise UserError(f"sfm120k: {self.folder / 'ims'} is missing: {PUBLIC}/ims.tar.gz unpacks into it")
        classes, labels = np.unique(clusters, return_inverse=True)
        return LabelledImages(
            FileImages(self.folder / "ims", [image_path(cid) for cid in cids]),
            np.arange(len(cids)),
            labels.astype(np.int64),
            None,
            tuple(str(cluster) for cluster in classes),
        )

    def test(self) -> tuple[RetrievalSplit, ...]:
        """Revisited Oxford and Paris, as far as `test_sets` names them."""
        check_unsealed("sfm120k")
        return tuple(revisited(self.folder, name) for name in self.test_sets)

    @property
    def fingerprint(self) -> str:
        """sha256 of the index: equal data sets have equal ones."""
        cids, clusters = self._index
        return hashlib.sha256("\n".join(map("{} {}".format, cids, clusters)).encode()).hexdigest()

    @cached_property
    def _index(self) -> tuple[list[str], np.ndarray]:
        """Names of the images (n,) and their models (n,) int64."""
        file = self.folder / INDEX
        if not file.is_file():
            raise UserError(f"sfm120k: {file} is missing: {PUBLIC}/{INDEX} is the public one")
        return _read_index(file)


def image_path(cid: str) -> str:
    """Where an image lies in `ims`: "…f5b2c7" -> "c7/b2/f5/…f5b2c7"."""
    return f"{cid[-2:]}/{cid[-4:-2]}/{cid[-6:-4]}/{cid}"


def _read_index(file: Path) -> tuple[list[str], np.ndarray]:
    from scipy.io import loadmat

    try:
        fields = _fields(loadmat(str(file)))
    except Exception as error:  # as many kinds as there are ways to be broken
        told = first_line(error)
        raise UserError(f"{file} cannot be read as a .mat file: {told}") from None
    for name in ("cids", "cluster"):
        if name not in fields:
            raise UserError(f"{file} has no {name!r}: it needs cids (image names) and cluster (a number for each)")
    # a cell of MATLAB holds an array, even where it is one text
    cids = [str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in np.ravel(fields["cids"])]
    clusters = np.ravel(fields["cluster"])
    if clusters.dtype.kind not in "iuf" or (clusters != np.round(clusters)).any():
        raise UserError(f"{file}: cluster must hold whole numbers")
    if not cids or len(cids) != len(clusters):
        raise UserError(f"{file}: {len(cids)} cids and {len(clusters)} clusters; each image needs one of each")
    for cid in cids:
        # six letters name its folders, and none of them leads out of `ims`
        if not re.fullmatch(r"[\w-][\w.-]{5,}", cid) or ".." in cid:
            raise UserError(f"{file}: {cid!r} is no name of an image")
    return cids, clusters.astype(np.int64)


def _fields(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arrays of the file, or of its struct `train` where they are kept apart from `val`."""
    train = content.get("train")
    if "cids" in content or train is None or train.dtype.names is None:
        return content
    return {name: train[name].ravel()[0] for name in train.dtype.names}
