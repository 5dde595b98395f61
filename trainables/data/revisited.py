"""Revisited Oxford and Paris: 70 queries each, cut out of photographs, against a gallery of landmarks and distractors.

Radenovic et al. 2018, Revisiting Oxford and Paris, arXiv 1803.11285. On disk as published:

    data_dir/roxford5k/gnd_roxford5k.pkl    imlist, qimlist, and gnd: bbx, easy, hard, junk of each query
    data_dir/roxford5k/jpg/*.jpg            and the same for rparis6k
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.files import FileImages
from trainables.data.landmarks import CroppedImages
from trainables.data.pickles import read_plain
from trainables.data.splits import GroundTruth, LabelledImages, RetrievalSplit
from trainables.errors import UserError

_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
IMAGES = {
    "roxford5k": f"{_VGG}/oxbuildings/oxbuild_images-v1.tgz",
    "rparis6k": f"{_VGG}/parisbuildings/paris_1-v1.tgz and paris_2-v1.tgz beside it",
}
NAMES = tuple(IMAGES)
_JUDGEMENTS = ("easy", "hard", "junk")


def revisited(data_dir: Path, name: str) -> RetrievalSplit:
    """The split of this name. The labels are the landmarks in the file names; the ground truth decides.

    UserError in one line for the first thing that is missing or not as it should be.
    """
    assert name in NAMES
    folder = data_dir / name
    file, pictures = folder / f"gnd_{name}.pkl", folder / "jpg"
    if not file.is_file():
        where = f"http://cmp.felk.cvut.cz/revisitop/data/datasets/{name}/{file.name} is the public one"
        raise UserError(f"{name}: {file} is missing: {where}{_WITHOUT}")
    gallery_names, query_names, boxes, truth = _ground_truth(file)
    where = f"{IMAGES[name]}, all images in {pictures}{_WITHOUT}"
    if not pictures.is_dir():
        raise UserError(f"{name}: {pictures} is missing: {where}")
    gallery, query = (
        FileImages(pictures, [f"{image}.jpg" for image in names]) for names in (gallery_names, query_names)
    )
    absent = [*gallery.missing(), *query.missing()]
    if absent:
        told = f"{len(absent)} of {len(gallery) + len(query)} images are missing, the first is {absent[0]}"
        raise UserError(f"{name}: {told}: {where}")
    landmarks = [image.rpartition("_")[0] or image for image in (*query_names, *gallery_names)]
    classes, labels = np.unique(landmarks, return_inverse=True)
    class_names = tuple(str(landmark) for landmark in classes)
    asked, searched = np.split(labels.astype(np.int64), [len(query)])
    return RetrievalSplit(
        name,
        LabelledImages(CroppedImages(query, boxes), np.arange(len(query)), asked, None, class_names),
        LabelledImages(gallery, np.arange(len(gallery)), searched, None, class_names),
        truth,
    )


_WITHOUT = "; dataset.kwargs.test_sets names the sets that are evaluated"


def _ground_truth(file: Path) -> tuple[list[str], list[str], np.ndarray, GroundTruth]:
    """Names of the gallery (M,) and of the queries (Q,), boxes (Q, 4), and what is right."""
    content = read_plain(file)
    try:
        gallery, queries = (_names(_field(content, key), key) for key in ("imlist", "qimlist"))
        entries = _field(content, "gnd")
        if not isinstance(entries, list) or len(entries) != len(queries):
            raise UserError(f"gnd needs an entry for each of the {len(queries)} queries")
        boxes = np.stack([_box(_field(entry, "bbx"), query) for query, entry in enumerate(entries)])
        judged = [[_positions(_field(entry, key), len(gallery)) for key in _JUDGEMENTS] for entry in entries]
        for query, positions in enumerate(judged):
            together = np.concatenate(positions)
            if len(np.unique(together)) < len(together):
                raise UserError(f"query {query} judges an image of the gallery twice")
        easy, hard, junk = (tuple(kind) for kind in zip(*judged, strict=True))
        for kind, positives in (("easy", easy), ("hard", hard)):
            if not any(len(own) for own in positives):
                raise UserError(f"no query has an answer in {kind!r}")
    except (ValueError, OverflowError) as error:
        raise UserError(f"{file} is no ground truth of landmarks: {error}") from None
    return gallery, queries, boxes, GroundTruth(easy, hard, junk)


def _field(content: Any, key: str) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise UserError(f"{key!r} is missing")
    return content[key]


def _names(values: Any, key: str) -> list[str]:
    if not isinstance(values, list) or not values:
        raise UserError(f"{key} must be a list of names")
    for value in values:
        # a name is a file of the folder, never a way out of it
        if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]*", value):
            told = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
            raise UserError(f"{key} holds {told}, which is no name of an image")
    return values


def _box(values: Any, query: int) -> np.ndarray:
    box = np.asarray(values if isinstance(values, np.ndarray) else _flat(values, (int, float)), dtype=np.float64)
    if box.size != 4 or not np.isfinite(box).all():
        raise UserError(f"bbx of query {query} must be four numbers")
    left, top, right, bottom = box = box.reshape(4)
    if round(right) <= max(0, round(left)) or round(bottom) <= max(0, round(top)):
        raise UserError(f"bbx of query {query} encloses nothing: {box.tolist()}")
    return box


def _positions(values: Any, gallery: int) -> np.ndarray:
    listed = values.ravel().tolist() if isinstance(values, np.ndarray) else _flat(values, (int,))
    for value in listed:
        if not isinstance(value, int) or not 0 <= value < gallery:
            raise UserError(f"an answer is {value!r}, none of the {gallery} positions of the gallery")
    return np.array(listed, dtype=np.int64)


def _flat(values: Any, types: tuple[type, ...]) -> list[Any]:
    if not isinstance(values, list) or not all(isinstance(value, types) for value in values):
        raise UserError("a box or an answer is no list of numbers")
    return values
