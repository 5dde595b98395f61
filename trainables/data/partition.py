"""Class-disjoint partitions: validation classes are never trained on, every super-class keeps its share."""

import numpy as np

from trainables.errors import UserError


def hold_out(
    labels: np.ndarray, super_labels: np.ndarray | None, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (kept, held): a `fraction` of the classes is held, of each super-class as near as whole classes go.

    labels (n,), super_labels (n,) or None. UserError where one side would be left without a class.
    """
    ordered = _stratified_order(labels, super_labels, seed)
    # classes of one super-class stand together: taking them evenly spaced takes the fraction of each
    marks = np.floor(np.arange(1, len(ordered) + 1) * fraction + 0.5)
    taken = ordered[np.diff(marks, prepend=0) > 0]
    if len(taken) == 0 or len(taken) == len(ordered):
        raise UserError(f"holding out {fraction:g} of {len(ordered)} classes leaves one side empty")
    held = np.isin(labels, taken)
    return np.flatnonzero(~held), np.flatnonzero(held)


def folds(labels: np.ndarray, super_labels: np.ndarray | None, k: int, seed: int) -> list[np.ndarray]:
    """k disjoint sets of positions that together are all, no class in two of them, equal in classes up to one."""
    ordered = _stratified_order(labels, super_labels, seed)
    if k > len(ordered):
        raise UserError(f"{k} folds need at least {k} classes, there are {len(ordered)}")
    return [np.flatnonzero(np.isin(labels, ordered[fold::k])) for fold in range(k)]


def _stratified_order(labels: np.ndarray, super_labels: np.ndarray | None, seed: int) -> np.ndarray:
    """The classes, shuffled within their super-class, one super-class after another."""
    classes, first = np.unique(labels, return_index=True)
    strata = np.zeros(len(classes), dtype=np.int64) if super_labels is None else super_labels[first]
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    return classes[shuffled[np.argsort(strata[shuffled], kind="stable")]]
