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
        sign = builder.ashr(bits, ir.Constant(bits.type, [31] * LANES))
        flipped = builder.lshr(sign, ir.Constant(bits.type, [1] * LANES))
        builder.store(builder.xor(bits, flipped), place, align=4)
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
        builder.store(after, places[2], align=4)
        return _words(context, builder, signature, found)

    return types.UniTuple(types.uint64, 2)(keys, at, low, high, counts, where), generate


@intrinsic
def scored(
    context: Any,
    keys: Any,
    at: Any,
    scales: Any,
    margins: Any,
    where: Any,
    scale: Any,
    margin: Any,
    lower: Any,
    upper: Any,
) -> Any:
    """The 64 integers keys[at:] become the bits of the floats that they stand for, times scale * scales[where:]; lower
    and upper (64,) what these are at least and at most, by margin + margins[where:]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        keys, at, scales, margins, where, scale, margin, *limits = arguments
        kinds = signature.args
        place = _address(context, builder, kinds[0], keys, at)
        others = [_load(builder, _address(context, builder, kinds[2], x, where)) for x in (scales, margins)]
        numbers = builder.sitofp(_load(builder, place), others[0].type)
        factor = builder.fmul(_splat(builder, others[0], scale), others[0])
        off = builder.fadd(_splat(builder, others[1], margin), others[1])
        scores = builder.fmul(numbers, factor)
        builder.store(builder.bitcast(scores, place.type.pointee), place, align=4)
        for limit, change in zip(limits, (builder.fsub, builder.fadd), strict=True):
            into = _address(context, builder, kinds[7], limit, ir.Constant(at.type, 0))
            builder.store(change(scores, off), into, align=4)
        return context.get_dummy_value()

    floats = types.float32
    return types.void(keys, at, scales, margins, where, floats, floats, lower, upper), generate


@intrinsic
def doubted(context: Any, lower: Any, upper: Any, threshold: Any) -> Any:
    """Two words, a bit for each of 64 floats: whether upper >= threshold, and whether lower <= threshold besides."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *limits, threshold = arguments
        limits = [_first(context, builder, signature.args[0], limit) for limit in limits]
        return _enclosing(context, builder, signature, limits, _splat(builder, limits[0], threshold))

    return types.UniTuple(types.uint64, 2)(lower, upper, types.float32), generate


@intrinsic
def doubted_each(context: Any, lower: Any, upper: Any, thresholds: Any, counts: Any, where: Any) -> Any:
    """The same with a threshold for each, thresholds[where:]; counts[where:] grow by one where lower > threshold."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *limits, thresholds, counts, where = arguments
        limits = [_first(context, builder, signature.args[0], limit) for limit in limits]
        each = _load(builder, _address(context, builder, signature.args[2], thresholds, where))
        place = _address(context, builder, signature.args[3], counts, where)
        before = _load(builder, place)
        certain = builder.sext(builder.fcmp_ordered(">", limits[0], each), before.type)
        builder.store(builder.sub(before, certain), place, align=4)
        return _enclosing(context, builder, signature, limits, each)

    return types.UniTuple(types.uint64, 2)(lower, upper, thresholds, counts, where), generate


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
    return builder.bitcast(first, ir.VectorType(first.type.pointee, LANES).as_pointer())


def _first(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return _load(builder, _address(context, builder, kind, array, ir.Constant(ir.IntType(64), 0)))


def _load(builder: Any, place: Any) -> Any:
    return builder.load(place, align=4)


def _splat(builder: Any, like: Any, value: Any) -> Any:
    empty = ir.Constant(like.type, ir.Undefined)
    one = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None))


def _compare(builder: Any, key: Any, low: Any, high: Any) -> list[Any]:
    may = builder.icmp_signed(">=", key, low)
    return [may, builder.and_(may, builder.icmp_signed("<=", key, high))]


def _enclosing(context: Any, builder: Any, signature: Any, limits: list[Any], threshold: Any) -> Any:
    may = builder.fcmp_ordered(">=", limits[1], threshold)
    doubt = builder.and_(may, builder.fcmp_ordered("<=", limits[0], threshold))
    return _words(context, builder, signature, [may, doubt])


def _words(context: Any, builder: Any, signature: Any, found: list[Any]) -> Any:
    return context.make_tuple(builder, signature.return_type, [builder.bitcast(mask, _WORD) for mask in found])
