"""Products of 16-bit rows by an instruction of every x86 processor since AVX2, sixteen multiplications each.

Sums of pairs in 32 bits, exact as long as whole products fit them (`rounded` sees to that). Six rows with sixteen
columns keep their sums in registers.
"""

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

from .blocks import Block, data
from .precision import Shape, integers_pay

HEIGHT = 6
WIDTH = 16
Ints = NDArray[np.int32]

_LARGEST = 60  # of the numbers of a trial: 2^14 of their products fit 32 bits many times


def words_there() -> bool:
    """Whether numba compiles for a processor with the instruction; without it nothing here may be compiled."""
    return "+avx2" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")


@functools.lru_cache(maxsize=64)
def words_pay(shape: Shape) -> bool:
    """Whether products (a, D) @ (c, D).T in 16 bits are right here, and much faster than float32; timed once."""
    if not words_there() or shape[2] > 2**14:
        return False
    random = np.random.default_rng(0)
    dim = shape[2] + -shape[2] % 2
    rows, columns = (random.integers(-_LARGEST, _LARGEST + 1, (size, dim), np.int16) for size in shape[:2])
    pairs = rows.view(np.int32), columns.view(np.int32)
    return integers_pay(rows, columns, lambda: products(*pairs))


@njit(nogil=True, cache=True)
def products(rows: Ints, columns: Ints) -> Ints:
    """(a, K), (c, K) -> (h, w): of all, filled up to multiples of HEIGHT and WIDTH."""
    depth = rows.shape[1]
    height, width = len(rows) + -len(rows) % HEIGHT, len(columns) + -len(columns) % WIDTH
    packed, packed_columns = pack(rows, HEIGHT, height), pack(columns, WIDTH, width)
    found = np.empty((height, width), np.int32)
    for first in range(0, height, HEIGHT):
        some = packed[first * depth : (first + HEIGHT) * depth]
        multiply(some, packed_columns, depth, 0, width, found[first : first + HEIGHT].reshape(-1), width)
    return found


@njit(nogil=True)
def pack(rows: Ints, each: int, count: int) -> Ints:
    """(n, K) -> the pairs of so many rows at each coordinate, of the next as many, ... (count * K,); zeros beyond n."""
    depth = rows.shape[1]
    packed = np.zeros(count * depth, np.int32)
    for b in range((len(rows) + each - 1) // each):
        for j in range(min(each, len(rows) - b * each)):
            for k in range(depth):
                packed[(b * depth + k) * each + j] = rows[b * each + j, k]
    return packed


@njit(nogil=True)
def multiply(rows: Ints, columns: Ints, depth: int, left: int, right: int, into: Ints, width: int) -> None:
    """HEIGHT packed rows with the packed columns left..right: products into (HEIGHT * width,)."""
    for b in range(left, right, WIDTH):
        _block(rows, columns, into, depth, b, width)


@intrinsic
def _block(context: Any, rows: Any, packed: Any, into: Any, depth: Any, at: Any, width: Any) -> Any:
    """Products of HEIGHT rows with the 16 columns from number `at`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *arrays, depth, at, width = arguments
        rows, packed, into = (data(context, builder, *part) for part in zip(signature.args, arrays, strict=False))
        zeros = [ir.Constant(_BLOCK.vector, None)] * _BLOCK.parts
        _BLOCK.multiply(builder, rows, packed, zeros, into, depth, at, width)
        return context.get_dummy_value()

    index = types.int64
    return types.void(rows, packed, into, index, index, index), generate


def _dot(builder: Any, sums: Any, row: Any, column: Any) -> Any:
    """sums + two products of 16 bits for each of 8."""
    halves = ir.VectorType(ir.IntType(16), 2 * _BLOCK.wide)
    kind = ir.FunctionType(_BLOCK.vector, [halves, halves])
    function = builder.module.declare_intrinsic("llvm.x86.avx2.pmadd.wd", (), kind)
    return builder.add(sums, builder.call(function, [builder.bitcast(part, halves) for part in (row, column)]))


_BLOCK = Block(HEIGHT, parts=2, wide=WIDTH // 2, dot=_dot)
