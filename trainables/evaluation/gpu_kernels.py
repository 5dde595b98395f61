"""How a tile of scores is counted on a GPU, in Triton. The plain form with the same numbers is `counting`."""

import triton
import triton.language as tl


@triton.jit
def note(near, first, second, place, noted, capacity, rows: tl.constexpr, columns: tl.constexpr):
    """Appends first, second, place of every pair (rows, columns) that is near to noted (3, capacity), as far as it
    reaches; noted's number, behind them, then stays somewhere above it."""
    flat = tl.reshape(near.to(tl.int32), [rows * columns])
    number = tl.sum(flat)
    if number > 0:  # noqa: SIM102
        # All pairs of a collapsed network are near: a number that counted them would come round. It is read by an
        # atomic, which gives all threads of the program one answer; a load may not.
        if tl.atomic_add(noted + 3 * capacity, 0) <= capacity:
            at = tl.atomic_add(noted + 3 * capacity, number) + tl.cumsum(flat) - 1
            some = (flat > 0) & (at < capacity)
            empty = tl.zeros([rows, columns], tl.int32)
            tl.store(noted + at, tl.reshape(first[:, None] + empty, [rows * columns]), some)
            tl.store(noted + capacity + at, tl.reshape(second[None, :] + empty, [rows * columns]), some)
            tl.store(noted + 2 * capacity + at, tl.zeros([rows * columns], tl.int32) + place, some)


@triton.jit
def count_rows(
    scores, row, column, height, first, second, low, high, counts, width, noted, capacity, rows: tl.constexpr,
    columns: tl.constexpr,
):  # fmt: skip
    """Scores (rows, columns) of these rows of a tile, height of them in all: how many reach the rows' thresholds.

    low, high (width, height): from which on a score may and must reach it. The surely counted are added to
    counts (height, width), the others noted under their numbers among all, from `first` and `second` on.
    """
    there = row < height
    place, going = 0, width > 0
    while going:
        reaching = scores >= tl.load(low + place * height + row, there, float("inf"))[:, None]
        going = tl.max(tl.max(reaching.to(tl.int32), 1), 0) > 0
        if going:
            certain = scores >= tl.load(high + place * height + row, there, float("inf"))[:, None]
            number = tl.sum(certain.to(tl.int32), 1)
            tl.atomic_add(counts + row * width + place, number, there & (number > 0))
            note(reaching & ~certain, first + row, second + column, place, noted, capacity, rows, columns)
        place += 1
        going = going & (place < width)


@triton.jit(do_not_specialize=["row_width", "column_width", "first_row", "first_column", "capacity"])
def count_tile(
    scores, height, breadth, row_codes, column_codes, row_low, row_high, row_counts, row_width, column_low, column_high,
    column_counts, column_width, first_row, first_column, noted, capacity, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """A block of scores (height, breadth), in its rows and in its columns. Who is of one class does not count."""
    across = tl.cdiv(breadth, columns)
    row = tl.program_id(0) // across * rows + tl.arange(0, rows)
    column = tl.program_id(0) % across * columns + tl.arange(0, columns)
    there = (row < height)[:, None] & (column < breadth)[None, :]
    same = tl.load(row_codes + row, row < height, 0)[:, None] == tl.load(column_codes + column, column < breadth, 0)
    own = tl.load(scores + row[:, None].to(tl.int64) * breadth + column[None, :], there & ~same, float("-inf"))
    count_rows(
        own, row, column, height, first_row, first_column, row_low, row_high, row_counts, row_width, noted, capacity,
        rows, columns,
    )  # fmt: skip
    count_rows(
        tl.trans(own), column, row, breadth, first_column, first_row, column_low, column_high, column_counts,
        column_width, noted, capacity, columns, rows,
    )  # fmt: skip
