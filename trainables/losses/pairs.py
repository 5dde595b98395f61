"""Who is compared with whom, and what a loss says of their scores: its value and its gradient on them."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Pairs(NamedTuple):
    """Who is compared with whom."""

    labels: Tensor  # (Q,)
    ref_labels: Tensor  # (M,)
    within_batch: bool  # the references are the queries themselves: reference i is query i

    def same(self) -> Tensor:
        """(Q, M) bool: of one class, the query itself among them."""
        return self.labels[:, None] == self.ref_labels[None, :]


class Slope(NamedTuple):
    """A loss's gradient on the scores, and what it takes off along the embeddings themselves."""

    scores: Tensor  # (Q, M)
    length: Tensor | None = None  # (Q,) for a loss that normalises: the gradient along each query, to be removed
    ref_length: Tensor | None = None  # (M,) the same along each reference


Formula = Callable[[Tensor, Pairs, bool], tuple[Tensor, Slope | None]]
"""(scores (Q, M), pairs, wanted) -> (scalar value, its gradient or None where it is not wanted)."""


def tangential(scores: Tensor, gradient: Tensor) -> Slope:
    """The gradient through a normalisation of the embeddings: e_i . sum_j g_ij e_j = sum_j g_ij s_ij is taken off."""
    along = scores * gradient
    return Slope(gradient, along.sum(1), along.sum(0))
