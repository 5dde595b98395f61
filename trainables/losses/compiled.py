"""Where the compiled kernel serves, and its work shared out among threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

ENOUGH = 2**19
"""Comparisons, about half a millisecond's: with fewer a second thread does not pay."""


@cache
def kernel() -> ModuleType | None:
    """The kernel; None where numba is not installed or has no place for what it compiles."""
    try:
        from trainables.losses import kernel as module
    except (ImportError, RuntimeError):
        return None
    return module


def serves(scores: Tensor) -> bool:
    """Whether the kernel takes these: float32 on a CPU."""
    return scores.device.type == "cpu" and scores.dtype == torch.float32 and kernel() is not None


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    """One a process: threads do not survive a fork."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="losses")


def share(work: Callable[[tuple[int, int]], None], comparisons: int) -> None:
    """work((first, every)) on as many threads as torch may use; the caller is one of them."""
    threads = min(torch.get_num_threads(), os.cpu_count() or 1) if comparisons >= ENOUGH else 1
    others = [_pool(os.getpid()).submit(work, (first, threads)) for first in range(1, threads)]
    work((0, threads))
    for other in others:
        other.result()


def with_transpose(square: Tensor) -> Tensor:
    """square (B, B) + its transpose, in its place where the kernel serves."""
    if not serves(square):
        return square + square.T
    square = square.contiguous()
    share(lambda rows: kernel().add_transpose(square.numpy(), rows), square.numel())  # type: ignore[union-attr]
    return square
