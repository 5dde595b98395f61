"""Which part of the train split validates: whole classes, whole super-classes, or images of every class."""

from typing import Literal

import numpy as np

from trainables.errors import UserError

Unit = Literal["class", "super-class", "image"]
"""What is never cut in two. class: validation classes are never trained on, every super-class keeps its share.
super-class: nor are their super-classes. image: the closed set, whose classes are trained on with other images."""

LEAST = 2  # images of a class on either side of a closed set: fewer have no positive


def hold_out(
    labels: np.ndarray, super_labels: np.ndarray | None, fraction: float, seed: int, unit: Unit = "class"
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (kept, held), ascending, with a `fraction` of the units held.

    Of the classes, from each super-class as near as whole classes go; of the super-classes; or of the images of each
    class, never fewer than two on either side: a class of up to three images is kept whole.
    labels (n,), super_labels (n,) or None. UserError where a side would be left empty.
    """
    if unit == "image":
        held = _images_held(labels, fraction, seed)
        return np.setdiff1d(np.arange(len(labels)), held), held
    groups, strata = _groups(labels, super_labels, unit)
    ordered = _stratified_order(groups, strata, seed)
    # classes of one super-class stand together: taking them evenly spaced takes the fraction of each
    marks = np.floor(np.arange(1, len(ordered) + 1) * fraction + 0.5)
    taken = ordered[np.diff(marks, prepend=0) > 0]
    if len(taken) == 0 or len(taken) == len(ordered):
        raise UserError(f"holding out {fraction:g} of {len(ordered)} {unit}es leaves one side empty")
    inside = np.isin(groups, taken)
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def folds(
    labels: np.ndarray, super_labels: np.ndarray | None, k: int, seed: int, unit: Unit = "class"
) -> list[np.ndarray]:
    """k disjoint sets of positions, ascending, equal in units up to one; what is not in a set is trained on with it.

    Sets of classes (equal within each super-class up to one, too) and of super-classes together are all positions.
    Sets of images are equal within each class up to one; a class of fewer than 2 * k images is in none of them.
    UserError for fewer units than k.
    """
    if unit == "image":
        return _image_folds(labels, k, seed)
    groups, strata = _groups(labels, super_labels, unit)
    ordered = _stratified_order(groups, strata, seed)
    if k > len(ordered):
        raise UserError(f"{k} folds need at least {k} {unit}es, there are {len(ordered)}")
    return [np.flatnonzero(np.isin(groups, ordered[fold::k])) for fold in range(k)]


def _groups(labels: np.ndarray, super_labels: np.ndarray | None, unit: Unit) -> tuple[np.ndarray, np.ndarray | None]:
    """What goes to one side together, and the strata that are cut alike."""
    if unit == "class":
        return labels, super_labels
    if super_labels is None:
        raise UserError("the data have no super-classes to hold out together")
    return super_labels, None


def _stratified_order(labels: np.ndarray, super_labels: np.ndarray | None, seed: int) -> np.ndarray:
    """The classes, shuffled within their super-class, one super-class after another."""
    classes, first = np.unique(labels, return_index=True)
    strata = np.zeros(len(classes), dtype=np.int64) if super_labels is None else super_labels[first]
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    return classes[shuffled[np.argsort(strata[shuffled], kind="stable")]]


def _shuffled_images(labels: np.ndarray, seed: int, least: int) -> list[np.ndarray]:
    """The positions of each class of at least so many images, shuffled."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    found = [images for images in members if len(images) >= least]
    if not found:
        raise UserError(f"a closed set needs classes of at least {least} images, the data have none")
    return found


def _images_held(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    held = []
    for images in _shuffled_images(labels, seed, 2 * LEAST):
        count = min(max(int(len(images) * fraction + 0.5), LEAST), len(images) - LEAST)
        held.append(images[:count])
    return np.sort(np.concatenate(held))


def _image_folds(labels: np.ndarray, k: int, seed: int) -> list[np.ndarray]:
    # the classes one after another: every k-th image is a share of each class, and the shares are equal in sum
    dealt = np.concatenate(_shuffled_images(labels, seed, LEAST * k))
    return [np.sort(dealt[fold::k]) for fold in range(k)]
