"""Tables and names in 80 columns."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from tuner.space import Value

WIDTH = 80


def table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """The rows in columns, the first `left` of them flush left, two spaces in front."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]  # fmt: skip


def sentence(words: str) -> list[str]:
    """A line, or as many as it takes, the further ones indented."""
    return textwrap.wrap(words, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def short(key: str) -> str:
    """loss.SupAP.tau -> SupAP.tau: what tells two keys apart; of tied paths the first."""
    return ".".join(key.split(",")[0].strip().split(".")[-2:])


def number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def point(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{short(key)} {written(value)}" for key, value in values.items())


def written(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def names(trials: Iterable[int], shown: int = 8) -> str:
    """Trial numbers as they are written everywhere: 0007, 0012, ..."""
    told = [f"{trial:04d}" for trial in trials]
    return ", ".join(told[:shown]) + (f" and {len(told) - shown} more" if len(told) > shown else "")
