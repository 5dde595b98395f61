"""Freed memory that a process keeps for its next batch.

glibc's malloc maps every large block anew and gives it back when it is freed. A batch's activations are such blocks:
the system clears every page of them again for every batch, a fifth of a training step on one CPU core.
"""

import ctypes

# of glibc's malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT = 2**30  # bytes that may lie free before any go back
LARGEST = 2**30  # bytes of a block that is reused
LARGEST_BEFORE_2_35 = 2**25  # older versions refuse more


def keep_freed_memory() -> None:
    """Of this process and those it forks from now on. Does nothing where malloc is not glibc's."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    if not mallopt(MMAP_THRESHOLD, LARGEST):
        mallopt(MMAP_THRESHOLD, LARGEST_BEFORE_2_35)
    mallopt(TRIM_THRESHOLD, KEPT)
