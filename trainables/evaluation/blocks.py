"""The inner loop of a product of integers, in LLVM's vectors: rows by columns whose sums stay in registers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir

INT, INDEX = ir.IntType(32), ir.IntType(64)
Value = Any  # of LLVM


class Block(NamedTuple):
    """height rows with parts * wide columns; dot(builder, sums, row, column): sums + products of what numbers hold."""

    height: int
    parts: int
    wide: int
    dot: Callable[[Value, Value, Value, Value], Value]

    @property
    def vector(self) -> Value:
        return ir.VectorType(INT, self.wide)

    def load(self, builder: Value, array: Value, at: Value, part: int = 0) -> Value:
        """The wide numbers array[at + part * wide:]."""
        return builder.load(self._pointer(builder, array, at, part), align=4)

    def multiply(
        self,
        builder: Value,
        rows: Value,
        columns: Value,
        begin: Sequence[Value],
        into: Value,
        depth: Value,
        at: Value,
        width: Value,
    ) -> None:
        """into[r * width + at:] = begin + the products of packed rows and of the packed columns from number `at`, over
        `depth` numbers."""
        columns = builder.gep(columns, [builder.mul(at, depth)])
        entry, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(INDEX)
        sums = [[builder.phi(self.vector) for _ in begin] for _ in range(self.height)]
        across = builder.mul(step, INDEX(self.parts * self.wide))
        column = [self.load(builder, columns, across, q) for q in range(self.parts)]
        first, after = builder.mul(step, INDEX(self.height)), []
        for r, row_sums in enumerate(sums):
            number = builder.load(builder.gep(rows, [builder.add(first, INDEX(r))]))
            empty = ir.Constant(self.vector, ir.Undefined)
            one = builder.insert_element(empty, number, INT(0))
            row = builder.shuffle_vector(one, empty, ir.Constant(self.vector, None))
            after.append([self.dot(builder, own, row, theirs) for own, theirs in zip(row_sums, column, strict=True)])
        following = builder.add(step, INDEX(1))
        step.add_incoming(INDEX(0), entry)
        step.add_incoming(following, loop)
        for row_sums, row_after in zip(sums, after, strict=True):
            for before, start, later in zip(row_sums, begin, row_after, strict=True):
                before.add_incoming(start, entry)
                before.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)
        builder.position_at_end(done)
        for r, row_after in enumerate(after):
            place = builder.add(at, builder.mul(width, INDEX(r)))
            for q, found in enumerate(row_after):
                builder.store(found, self._pointer(builder, into, place, q), align=4)

    def _pointer(self, builder: Value, array: Value, at: Value, part: int) -> Value:
        place = builder.gep(array, [builder.add(at, INDEX(self.wide * part))])
        return builder.bitcast(place, self.vector.as_pointer())


def data(context: Value, builder: Value, kind: Value, array: Value) -> Value:
    """Where the numbers of an array begin."""
    return context.make_array(kind)(context, builder, array).data
