"""A square matrix plus its transpose, in its own place."""

import numpy as np
from numba import njit

from trainables.losses.kernels.options import ENTRY, Floats

TILE = 64
"""Side of the squares that are exchanged."""


@njit(**ENTRY)
def add_transpose(matrix: Floats, tiles: tuple[int, int]) -> None:
    """matrix (B, B) += its transpose, in place; of the rows of tiles tiles[0] and every tiles[1]-th after it."""
    size = matrix.shape[0]
    square = np.empty((TILE, TILE + 1), np.float32)  # a column of the matrix would keep evicting its own lines
    for top in range(tiles[0] * TILE, size, tiles[1] * TILE):
        rows = min(TILE, size - top)
        for left in range(top, size, TILE):
            columns = min(TILE, size - left)
            for j in range(columns):
                for i in range(rows):
                    square[j, i] = matrix[left + j, top + i]
            for i in range(rows):
                for j in range(columns):
                    square[j, i] += matrix[top + i, left + j]
            for i in range(rows):
                for j in range(columns):
                    matrix[top + i, left + j] = square[j, i]
            for j in range(columns):
                for i in range(rows):
                    matrix[left + j, top + i] = square[j, i]
