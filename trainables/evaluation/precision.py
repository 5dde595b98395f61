"""Products in real float32, whatever the training around set, by the faster of the libraries that give it."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from .counting import rounding_bound

Shape = tuple[int, int, int]

# So much faster than float32 a filter must be, because the comparisons that it leaves open cost time too.
_GAIN = 1.4
_TIMED = 5


@contextmanager
def full_float32(device: torch.device, shapes: Iterable[Shape] = ()) -> Iterator[None]:
    """No autocast, no TensorFloat-32 or bfloat16 inside products; the former state returns afterwards.

    shapes: (a, c, D) of the products (a, D) @ (c, D).T to come. Where "medium" is float32 in all of them it is taken.
    The precision is the process's: one at a time, around the threads that multiply.
    """
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(product_precision(device, shapes))
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def product_precision(device: torch.device, shapes: Iterable[Shape]) -> str:
    """torch's name of the precision: "medium" on a CPU where it is none the less float32, else "highest".

    "medium" allows bfloat16 and sends products to oneDNN, which on a CPU without bfloat16 tiles multiplies in
    float32 and is up to 2.5 times as fast as the library of "highest".
    """
    shapes = set(shapes)
    fast = device.type == "cpu" and bool(shapes) and all(medium_is_float32(*shape) for shape in shapes)
    return "medium" if fast else "highest"


@lru_cache(maxsize=256)
def medium_is_float32(a: int, c: int, dim: int) -> bool:
    """Whether a product (a, D) @ (c, D).T on the CPU at "medium" keeps what `rounding_bound` rests on.

    That is, factors of 24 bits, so that a single product is off by at most 2^-24 of itself (rows with one element
    each: bfloat16, its sums of two or three, and TensorFloat-32 all lose more), and sums in float32 (dense rows).
    """
    before = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    rows, columns = (1 + torch.rand(size, dim, generator=generator) for size in (a, c))
    single = [torch.zeros_like(part) for part in (rows, columns)]
    for part, dense in zip(single, (rows, columns), strict=True):
        place = (torch.arange(len(part)) % dim)[:, None]
        part.scatter_(1, place, dense.gather(1, place))
    rows, columns = (torch.nn.functional.normalize(part * (-1) ** torch.arange(dim)) for part in (rows, columns))
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", enabled=False):
            found, found_single = rows @ columns.T, single[0] @ single[1].T
    finally:
        torch.set_float32_matmul_precision(before)
    exact, exact_single = rows.double() @ columns.double().T, single[0].double() @ single[1].double().T
    faithful = (found_single.double() - exact_single).abs() <= exact_single * 2.0**-24
    return bool(faithful.all()) and float((found.double() - exact).abs().max()) <= rounding_bound(dim) / 2


def integers_pay(
    rows: NDArray[np.signedinteger], columns: NDArray[np.signedinteger], way: Callable[[], NDArray[np.int32]]
) -> bool:
    """Whether way() gives rows (a, D) @ columns (c, D).T, in its first a and c, much faster than float32 does.

    On one thread, as tiles are counted: see `threads`.
    """
    dense = [torch.from_numpy(part.astype(np.float32)) for part in (rows, columns)]
    exact = (dense[0].double() @ dense[1].double().T).numpy()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with full_float32(torch.device("cpu"), [(len(rows), len(columns), rows.shape[1])]):
            right = np.array_equal(way()[: len(rows), : len(columns)], exact)
            return right and much_faster(way, lambda: dense[0] @ dense[1].T)
    finally:
        torch.set_num_threads(threads)


def much_faster(way: Callable[[], object], peer: Callable[[], object]) -> bool:
    """Timed in turn, and the shortest of each: a busy machine slows some of them, seldom all."""
    timed = [[_seconds(either) for either in (way, peer)] for _ in range(_TIMED)]
    mine, theirs = (min(times) for times in zip(*timed, strict=True))
    return theirs >= _GAIN * mine


def _seconds(way: Callable[[], object]) -> float:
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin
