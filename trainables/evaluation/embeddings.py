"""The door of the evaluation: what a user passes becomes unit rows and class codes, or a UserError."""

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.errors import UserError

Embeddings: TypeAlias = Tensor | NDArray[np.floating]
Labels: TypeAlias = Tensor | NDArray[np.generic] | list[int]

GRID = 2.0**26
# At a time: on a CPU what stays in the cache, on a GPU what keeps it busy.
_ROWS, _ROWS_ON_GPU = 1024, 2**15


def unit_rows(embeddings: Embeddings, name: str = "query") -> Tensor:
    """(N, D) of any float type, numpy or torch -> (N, D) float32 of length 1, on the same device.

    The coordinates lie on the grid of multiples of 2^-26. It is finer than float32 rounding of a cosine, and
    it makes every product of two rows exact in float64: all terms are multiples of 2^-52 and any partial sum
    stays below 2, so 53 bits suffice in whatever order a matrix product adds. A row of zeros stays zero.
    Raises UserError for an empty or non-finite input or a shape that is not (N, D).
    """
    shape = tuple(embeddings.shape)
    floating = embeddings.is_floating_point() if isinstance(embeddings, Tensor) else embeddings.dtype.kind == "f"
    if len(shape) != 2 or not floating:
        raise UserError(f"{name} embeddings have shape {shape} and type {embeddings.dtype}, need float (N, D)")
    if 0 in shape:
        raise UserError(f"{name} embeddings are empty: shape {shape}")
    on_gpu = isinstance(embeddings, Tensor) and embeddings.is_cuda
    unit = torch.empty(shape, device=embeddings.device if on_gpu else "cpu")
    step = _ROWS_ON_GPU if on_gpu else _ROWS
    for start in range(0, len(unit), step):
        part = _tensor(embeddings[start : start + step]).to(unit.device).float().double()
        length = part.norm(dim=1, keepdim=True)  # of float32 numbers: finite where they all are
        if not bool(torch.isfinite(length).all()):
            bad = int((~torch.isfinite(length)).nonzero()[0, 0]) + start
            raise UserError(f"{name} embeddings contain NaN or infinity, first in row {bad}")
        unit[start : start + step] = (part / length.where(length > 0, 1.0)).float().mul_(GRID).round_().div_(GRID)
    return unit


def _tensor(rows: Embeddings) -> Tensor:
    """Contiguous, so that equal rows are summed in the same order and come out equal."""
    if isinstance(rows, Tensor):
        return rows.detach().contiguous()
    return torch.from_numpy(np.array(rows, order="C"))


def class_codes(labels: list[tuple[str, Labels, int]]) -> list[NDArray[np.int64]]:
    """[(name, labels (N,), N), ...] -> (N,) codes 0..C-1 for each, equal where the labels are equal."""
    arrays = []
    for name, values, count in labels:
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if array.shape != (count,):
            raise UserError(f"{name} labels have shape {array.shape}, need ({count},): one for each embedding")
        if array.dtype.kind not in "iubU":
            raise UserError(f"{name} labels have type {array.dtype}, need integers or strings")
        arrays.append(array)
    if len({array.dtype.kind == "U" for array in arrays}) > 1:
        raise UserError("query and gallery labels must both be integers or both be strings")
    codes = np.unique(np.concatenate(arrays), return_inverse=True)[1].astype(np.int64)
    return np.split(codes, np.cumsum([len(array) for array in arrays])[:-1])
