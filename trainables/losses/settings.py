"""What the losses' constructors refuse: the setting, the value and what is allowed, in one line."""

import math
from numbers import Integral, Real

from trainables.errors import UserError


def number(loss: str, name: str, value: object, *, above: float | None = None, least: float | None = None) -> float:
    """A finite number, > above or >= least where they are given; a bool is not one."""
    low = f" > {above:g}" if above is not None else f" >= {least:g}" if least is not None else ""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise UserError(f"{loss}: {name} must be a finite number{low}, not {value!r}")
    checked = float(value)
    if (above is not None and checked <= above) or (least is not None and checked < least):
        raise UserError(f"{loss}: {name} must be a finite number{low}, not {value!r}")
    return checked


def similarity(loss: str, name: str, value: object) -> float:
    """A cosine similarity: a number in [-1, 1]."""
    checked = number(loss, name, value)
    if not -1 <= checked <= 1:
        raise UserError(f"{loss}: {name} must be a cosine similarity in [-1, 1], not {value!r}")
    return checked


def whole(loss: str, name: str, value: object, least: int) -> int:
    """A whole number >= least; a bool is not one."""
    if type(value) is bool or not isinstance(value, Integral) or value < least:
        raise UserError(f"{loss}: {name} must be a whole number >= {least}, not {value!r}")
    return int(value)
