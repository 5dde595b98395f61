"""The rows in sixteen bits, all with steps of one length: products of them have the order of scores, up to a bound."""

from typing import NamedTuple

import torch
from torch import Tensor

from .search import Search, slices

_LARGEST = 2**15 - 1
# In the length of a row: with it every product of two rows, and every part of one, fits 32 bits.
_MOST_STEPS = 46_000.0


class Rounded(NamedTuple):
    """Rows x as codes / steps. The margins of two rows add up to a bound on what the product of their codes is off."""

    codes: Tensor  # (N, K) int32, each two numbers
    margin: Tensor  # (N,) float64, in steps^2

    def part(self, rows: slice) -> "Rounded":
        return Rounded(*(field[rows] for field in self))


def steps_of(search: Search) -> float:
    """How many steps a row is long, so that the largest number of all fits sixteen bits."""
    sides = (search.query,) if search.alone else (search.query, search.gallery)
    largest = max(float(side.max().maximum(-side.min())) for side in sides)
    return min(_MOST_STEPS, _LARGEST / largest) if largest else _MOST_STEPS


def rounded(rows: Tensor, steps: float) -> Rounded:
    """rows (N, D): from `unit_rows`.

    |xy - x'y'| <= |x - x'| |y| + |x'| |y - y'| (Cauchy and Schwarz), where |x'| <= |x| + |x - x'| and the product of
    both errors is at most half the sum of their squares. Lengths of unit rows lie below 1.001.
    """
    codes = torch.zeros((len(rows), rows.shape[1] + rows.shape[1] % 2), dtype=torch.int16)
    margin = torch.empty(len(rows), dtype=torch.float64)
    for part in slices(len(rows), 512):
        exact = rows[part].double().mul_(steps)
        whole = exact.round()
        codes[part, : rows.shape[1]] = whole
        error = torch.linalg.vector_norm(exact.sub_(whole), dim=1)
        margin[part] = 1.001 * steps * error + error**2 / 2 + 1
    return Rounded(codes.view(torch.int32), margin)
