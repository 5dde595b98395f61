"""What the counting kernel does with 64 scores at once, in LLVM's vectors.

No loop over scores makes the compiler pack comparisons into the bits of a word; where those bits are all there is to
do, that is several times faster. LLVM cuts the vectors to what the processor has.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 64
_WORD = ir.IntType(LANES)


@intrinsic
def ordered(context: Any, keys: Any, at: Any) -> Any:
    """Turns the bits of the 64 floats keys[at:] into integers of the same order, -0 right below +0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at = arguments
        place = _address(context, builder, signature.args[0], array, at)
        bits = _load(builder, place)
        width = bits.type.element.width
        sign = builder.ashr(bits, ir.Constant(bits.type, [width - 1] * LANES))
        flipped = builder.lshr(sign, ir.Constant(bits.type, [1] * LANES))
        builder.store(builder.xor(bits, flipped), place, align=width // 8)
        return context.get_dummy_value()

    return types.void(keys, at), generate


@intrinsic
def reached(context: Any, keys: Any, at: Any, low: Any, high: Any) -> Any:
    """Two words, a bit for each of the 64 keys[at:]: whether low <= key, whether low <= key <= high."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, *limits = arguments
        key = _load(builder, _address(context, builder, signature.args[0], array, at))
        return _words(context, builder, signature, _compare(builder, key, *(_splat(builder, key, x) for x in limits)))

    return types.UniTuple(types.uint64, 2)(keys, at, keys.dtype, keys.dtype), generate


@intrinsic
def tallied(context: Any, keys: Any, at: Any, low: Any, high: Any, counts: Any, where: Any) -> Any:
    """The same with bounds for each key, low[where:] and high[where:]; counts[where:] grow by one where low <= key."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, low, high, counts, where = arguments
        _, _, *kinds, _ = signature.args
        key = _load(builder, _address(context, builder, signature.args[0], array, at))
        places = [
            _address(context, builder, kind, x, where) for kind, x in zip(kinds, (low, high, counts), strict=True)
        ]
        found = _compare(builder, key, *(_load(builder, place) for place in places[:2]))
        before = _load(builder, places[2])
        after = builder.sub(before, builder.sext(found[0], before.type))
        builder.store(after, places[2], align=before.type.element.width // 8)
        return _words(context, builder, signature, found)

    return types.UniTuple(types.uint64, 2)(keys, at, low, high, counts, where), generate


@intrinsic
def ones(context: Any, word: Any) -> Any:
    """How many bits are set."""
    return types.int64(word), lambda context, builder, signature, arguments: builder.ctpop(*arguments)


@intrinsic
def trailing_zeros(context: Any, word: Any) -> Any:
    """The place of the lowest bit that is set, of a word that is not zero."""
    never_zero = ir.Constant(ir.IntType(1), 1)
    return types.int64(word), lambda context, builder, signature, arguments: builder.cttz(*arguments, never_zero)


def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Of the 64 elements array[at:], as a pointer to a vector."""
    first = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    return builder.bitcast(first, ir.VectorType(ir.IntType(kind.dtype.bitwidth), LANES).as_pointer())


def _load(builder: Any, place: Any) -> Any:
    return builder.load(place, align=place.type.pointee.element.width // 8)


def _splat(builder: Any, like: Any, value: Any) -> Any:
    empty = ir.Constant(like.type, ir.Undefined)
    one = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None))


def _compare(builder: Any, key: Any, low: Any, high: Any) -> list[Any]:
    may = builder.icmp_signed(">=", key, low)
    return [may, builder.and_(may, builder.icmp_signed("<=", key, high))]


def _words(context: Any, builder: Any, signature: Any, found: list[Any]) -> Any:
    return context.make_tuple(builder, signature.return_type, [builder.bitcast(mask, _WORD) for mask in found])
