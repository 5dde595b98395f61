"""Products of 8-bit rows by the instruction that x86 processors have for them, 64 multiplications each.

Exact in 32 bits. It multiplies unsigned by signed numbers: the rows are raised by 128, and the sums begin at what that
adds. Six rows with 64 columns keep their sums in registers, so that they do not wait for memory.
"""

import functools
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

from .blocks import INDEX, INT, Block, data
from .lanes import LANES
from .precision import Shape, integers_pay

HEIGHT = 6
Ints = NDArray[np.int32]

_WIDE = 16
_VECTOR = ir.VectorType(INT, _WIDE)
# From this version LLVM's function for the instruction says that its factors are bytes.
_BYTES = ir.VectorType(ir.IntType(8), 4 * _WIDE) if llvmlite.binding.llvm_version_info[0] >= 22 else _VECTOR
_DEEPEST = 2**14  # coordinates of which a sum of 255 x 127 is far from 2^31
_RAISED = np.int32(-0x7F7F7F80)  # 128 in each of its four bytes


def octets_there() -> bool:
    """Whether numba compiles for a processor with the instruction."""
    return "+avx512vnni" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")


@functools.lru_cache(maxsize=64)
def octets_pay(shape: Shape) -> bool:
    """Whether products (a, D) @ (c, D).T in 8 bits are right here, and much faster than float32; timed once."""
    if not octets_there() or shape[2] > _DEEPEST:
        return False
    random = np.random.default_rng(0)
    rows, columns = (random.integers(-127, 128, (size, shape[2] + -shape[2] % 4), np.int8) for size in shape[:2])
    fours = rows.view(np.int32), columns.view(np.int32), columns.sum(1, dtype=np.int32)
    return integers_pay(rows, columns, lambda: products(*fours))


@njit(nogil=True, cache=True)
def products(rows: Ints, columns: Ints, sums: Ints) -> Ints:
    """(a, K), (c, K) and the sums of the columns' numbers (c,) -> (a, w): of all, w a multiple of LANES."""
    packed, starts = pack(columns, sums)
    found = np.empty((len(rows), len(starts)), np.int32)
    strip, four = np.empty(HEIGHT * len(starts), np.int32), np.empty(HEIGHT * rows.shape[1], np.int32)
    for first in range(0, len(rows), HEIGHT):
        some = rows[first : first + HEIGHT]
        multiply(some, packed, starts, 0, len(starts), four, strip)
        found[first : first + HEIGHT] = strip.reshape(HEIGHT, -1)[: len(some)]
    return found


@njit(nogil=True)
def pack(columns: Ints, sums: Ints) -> tuple[Ints, Ints]:
    """(c, K) -> 64 columns after the other (c / 64 * K * 64,), of each 64 fours in turn, and where their sums begin."""
    count, depth = columns.shape
    blocks = (count + LANES - 1) // LANES
    packed, starts = np.empty(blocks * depth * LANES, np.int32), np.zeros(blocks * LANES, np.int32)
    for b in range(blocks):
        for j in range(min(LANES, count - b * LANES)):
            starts[b * LANES + j] = -128 * sums[b * LANES + j]
            for k in range(depth):
                packed[(b * depth + k) * LANES + j] = columns[b * LANES + j, k]
    return packed, starts


@njit(nogil=True)
def multiply(rows: Ints, packed: Ints, starts: Ints, left: int, right: int, four: Ints, into: Ints) -> None:
    """Up to HEIGHT rows (a, K) with packed columns left..right: products into (HEIGHT * w,).

    four (HEIGHT * K,) is overwritten.
    """
    height, depth = rows.shape
    for r in range(height):
        for k in range(depth):
            four[k * HEIGHT + r] = rows[r, k] ^ _RAISED
    for b in range(left, right, LANES):
        _block(four, packed, starts, into, depth, b, len(starts))


@intrinsic
def _block(context: Any, rows: Any, packed: Any, starts: Any, into: Any, depth: Any, at: Any, width: Any) -> Any:
    """Products of HEIGHT rows with the 64 columns from number `at`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *arrays, depth, at, width = arguments
        parts = zip(signature.args, arrays, strict=False)
        rows, packed, starts, into = (data(context, builder, *part) for part in parts)
        begin = [_BLOCK.load(builder, starts, at, q) for q in range(_BLOCK.parts)]
        _BLOCK.multiply(builder, rows, packed, begin, into, depth, at, width)
        return context.get_dummy_value()

    index = types.int64
    return types.void(rows, packed, starts, into, index, index, index), generate


@intrinsic
def crossed(
    context: Any, row: Any, row_rest: Any, at: Any, column: Any, column_rest: Any, where: Any, depth: Any
) -> Any:
    """int32: (128 + row[at:]) * column_rest[where:] + (128 + row_rest[at:]) * column[where:], over `depth` fours."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, row_rest, at, column, column_rest, where, depth = arguments
        starts = [
            builder.gep(data(context, builder, signature.args[0], array), [first])
            for array, first in ((row, at), (column_rest, where), (row_rest, at), (column, where))
        ]
        entry, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(INDEX)
        sums = [builder.phi(_VECTOR), builder.phi(_VECTOR)]
        parts = [_BLOCK.load(builder, start, step) for start in starts]
        raised = ir.Constant(_VECTOR, [int(_RAISED)] * _WIDE)
        after = [
            _dot(builder, part, builder.xor(mine, raised), theirs)
            for part, mine, theirs in zip(sums, parts[::2], parts[1::2], strict=True)
        ]
        following = builder.add(step, INDEX(_WIDE))
        step.add_incoming(INDEX(0), entry)
        step.add_incoming(following, loop)
        for before, later in zip(sums, after, strict=True):
            before.add_incoming(ir.Constant(_VECTOR, None), entry)
            before.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)
        builder.position_at_end(done)
        kind = ir.FunctionType(INT, [_VECTOR])
        total = builder.module.declare_intrinsic("llvm.vector.reduce.add.v16i32", (), kind)
        return builder.call(total, [builder.add(*after)])

    index = types.int64
    return types.int32(row, row_rest, index, column, column_rest, index, index), generate


def _dot(builder: Any, sums: Any, row: Any, column: Any) -> Any:
    """sums + four products of bytes, unsigned and signed, for each of 16."""
    if octets_there():
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _BYTES, _BYTES])
        function = builder.module.declare_intrinsic("llvm.x86.avx512.vpdpbusd.512", (), kind)
        return builder.call(function, [sums, builder.bitcast(row, _BYTES), builder.bitcast(column, _BYTES)])
    # Slow, for the tests of all the rest on other processors.
    wide = ir.VectorType(INT, 4 * _WIDE)
    bytes_ = ir.VectorType(ir.IntType(8), 4 * _WIDE)
    mine, theirs = (builder.bitcast(part, bytes_) for part in (row, column))
    products = builder.mul(builder.zext(mine, wide), builder.sext(theirs, wide))
    for part in range(4):
        places = ir.Constant(_VECTOR, [4 * place + part for place in range(_WIDE)])
        sums = builder.add(sums, builder.shuffle_vector(products, ir.Constant(wide, ir.Undefined), places))
    return sums


_BLOCK = Block(HEIGHT, parts=LANES // _WIDE, wide=_WIDE, dot=_dot)
