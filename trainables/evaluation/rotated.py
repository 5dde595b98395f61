"""The rows in eight bits, as a filter: what lies beyond its error bound is decided, the rest is for exact arithmetic.

First they are turned, all by the same rotation, which leaves their products as they are and spreads what a row has in
few coordinates evenly over all of them: so none is much larger than the others, and the steps of rounding are small.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .search import slices

_LARGEST = 127
# A step of the next eight bits is this part of one of the first: half a step is the most that these leave.
FINER = 2 * _LARGEST
# Dimensions are filled up with zeros to a multiple of this: that many at least are mixed.
_MIXED = 64


class Octets(NamedTuple):
    """Rows x as scale * (codes + rest / FINER). The margins of two rows add up to a bound on what is off:

    of scale * codes, their product; with the rest, the products of one's codes and the other's rest and codes.
    """

    codes: Tensor  # (N, K) int32, each four numbers
    rest: Tensor  # (N, K) int32, each four numbers
    sums: Tensor  # (N,) int32 of a row's codes
    rest_sums: Tensor  # (N,) int32
    scale: Tensor  # (N,) float32
    margin: Tensor  # (N,) float32 of the codes alone
    fine_margin: Tensor  # (N,) float32 with the rest

    def part(self, rows: slice) -> "Octets":
        return Octets(*(field[rows] for field in self))


def octets(rows: Tensor) -> Octets:
    """rows (N, D): from `unit_rows`.

    |xy - x'y'| <= |x - x'| |y| + |x'| |y - y'| (Cauchy and Schwarz), where |x'| <= |x| + |x - x'| and the product of
    both errors is at most half the sum of their squares, as is that of both rests, which is left out. Lengths of unit
    rows lie below 1.001; what float32 adds in scaling, comparing and storing all this is less than 2^-21.
    """
    dim = rows.shape[1] + -rows.shape[1] % _MIXED
    codes, rest = (torch.empty((len(rows), dim), dtype=torch.int8) for _ in range(2))
    sums, rest_sums = (torch.empty(len(rows), dtype=torch.int32) for _ in range(2))
    scale, margin, fine = (torch.empty(len(rows), dtype=torch.float32) for _ in range(3))
    for part in slices(len(rows), 128):
        turned = rotated(rows[part], dim)
        largest = turned.abs().amax(1, keepdim=True)
        step = (largest.where(largest > 0, 1.0) / _LARGEST).float().double()
        turned /= step
        rounded = turned.round().clamp_(-_LARGEST, _LARGEST)
        turned -= rounded
        finer = (turned * FINER).round_().clamp_(-_LARGEST, _LARGEST)
        codes[part], sums[part], scale[part] = rounded.to(torch.int8), rounded.sum(1).int(), step[:, 0]
        rest[part], rest_sums[part] = finer.to(torch.int8), finer.sum(1).int()
        left = [step[:, 0] * torch.linalg.vector_norm(some, dim=1) for some in (turned, turned - finer / FINER)]
        margin[part], off = (1.001 * error + error**2 / 2 + 2.0**-21 for error in left)
        fine[part] = off + (step[:, 0] / FINER * torch.linalg.vector_norm(finer, dim=1)) ** 2 / 2
    return Octets(codes.view(torch.int32), rest.view(torch.int32), sums, rest_sums, scale, margin, fine)


def rotated(rows: Tensor, dim: int) -> Tensor:
    """(n, D) -> (n, `dim`) float64, turned by a rotation.

    That is a Hadamard matrix of the largest power of two in `dim`, after half of the signs have changed; where that
    leaves several blocks, each mixes coordinates from everywhere.
    """
    signs = torch.randint(0, 2, (dim,), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    wide = torch.nn.functional.pad(rows.double(), (0, dim - rows.shape[1])) * signs
    mixed = dim & -dim
    right = _hadamard(2 ** (mixed.bit_length() // 2))
    left = _hadamard(mixed // len(right)) / math.sqrt(mixed)
    blocks = wide.view(len(rows), mixed, -1).transpose(1, 2).reshape(len(rows), -1, len(left), len(right))
    return (left @ blocks @ right).view(len(rows), dim)


def _hadamard(size: int) -> Tensor:
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix
