"""Where the compiled kernels serve, what they are given, and their work shared out among threads."""

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables import gpu_compiler

PORTION = 2**18
"""Comparisons, about a quarter of a millisecond's: the least that is worth a thread."""


@cache
def _load() -> ModuleType | None:
    """The kernels; None where numba is not installed or has no place for what it compiles."""
    try:
        return importlib.import_module("trainables.losses.kernels")
    except (ImportError, RuntimeError):
        return None


def kernels(scores: Tensor) -> Any | None:
    """The module of the kernels, where they take these: float32 on a CPU."""
    return _load() if scores.device.type == "cpu" and scores.dtype == torch.float32 else None


def fused(scores: Tensor, labels: Tensor) -> Any | None:
    """The GPU's kernels, where they can be compiled and take these: float32 on a GPU, labels that are whole numbers."""
    serve = scores.is_cuda and scores.dtype == torch.float32 and scores.numel() and not labels.is_floating_point()
    return importlib.import_module("trainables.losses.fused") if serve and gpu_compiler.works() else None


class Listed(NamedTuple):
    """The positives of every query: by_class[first : first + counts], as the kernels take them."""

    by_class: NDArray[np.int64]  # (M,) the references, class by class
    first: NDArray[np.int64]  # (Q,)
    counts: NDArray[np.int64]  # (Q,)

    @classmethod
    def of(cls, labels: Tensor, ref_labels: Tensor) -> "Listed":
        """One sort of the labels."""
        known, wanted = ref_labels.numpy(), labels.numpy()
        by_class = known.argsort(kind="stable")
        classes = known[by_class]
        first = np.searchsorted(classes, wanted)
        return cls(by_class, first, np.searchsorted(classes, wanted, side="right") - first)


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    """One a process: threads do not survive a fork."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="losses")


def share(work: Callable[[tuple[int, int]], None], comparisons: int) -> None:
    """work((first, every)) on as many threads as torch may use; the caller is one of them."""
    threads = max(1, min(torch.get_num_threads(), comparisons // PORTION))
    others = [_pool(os.getpid()).submit(work, (first, threads)) for first in range(1, threads)]
    work((0, threads))
    for other in others:
        other.result()


def with_transpose(square: Tensor) -> Tensor:
    """square (B, B) + its transpose, in its place where a kernel serves."""
    module = kernels(square)
    if module is None:
        return square + square.T
    square = square.contiguous()
    share(lambda tiles: module.add_transpose(square.numpy(), tiles), square.numel())
    return square
