"""Pickles from outside, read as data: dicts, lists, texts, numbers and arrays of numbers. Nothing in them is run.

The ground truth of landmark sets exists in no other format. An unpickler calls whatever a file names; this one knows
only stand-ins for the few names that an array of numbers is written with. numpy's own are not called either: its
`__setstate__` trusts its argument, and a forged dtype turns numbers into addresses.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import UserError, first_line


def read_plain(path: Path) -> Any:
    """The content of a pickle of any protocol, tuples as lists; UserError in one line for anything that is not data.

    Texts that Python 2 wrote are read as latin1, which leaves the bytes of its arrays as they were.
    """
    try:
        with path.open("rb") as file:
            return _plain(_Unpickler(file, encoding="latin1").load(), {})
    except (UserError, OSError) as error:
        raise UserError(f"{path}: {first_line(error)}") from None
    except Exception as error:  # a broken pickle fails in as many ways as there are exceptions
        told = first_line(error)
        raise UserError(f"{path} cannot be read as a pickle: {told}") from None


class _StandIn:
    """Found in place of a name. A pickle may give state to what it finds: here only a `__setstate__` takes it."""

    def __setstate__(self, state: Any) -> None:
        raise UserError("a pickle gives state to something that has none")


class _Dtype(_StandIn):
    """numpy.dtype of plain numbers: dtype("f8", align, copy), then its state (version, byte order, ...)."""

    def __init__(self, name: str, *_: Any) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[biuf]\d{1,2}", name):
            raise UserError(f"an array of type {name!r}: only arrays of numbers are read")
        self.value: np.dtype[Any] = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        _, order, *structure = state
        if structure[:3] != [None, None, None] or order not in ("<", ">", "|", "="):
            raise UserError("an array of structures: only arrays of numbers are read")
        self.value = self.value.newbyteorder(order)


class _Array(_StandIn):
    """numpy's _reconstruct(ndarray, (0,), b"b"), and the state that makes it an array; numpy.ndarray itself too."""

    def __init__(self, *_: Any) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _numbers(data, dtype, shape, "F" if fortran else "C")


class _FromBuffer(_StandIn):
    """numpy's _frombuffer(bytes, dtype, shape, order), the array of protocol 5."""

    def __new__(cls, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
        array = _Array()
        array.value = _numbers(data, dtype, shape, order)
        return array


class _Scalar(_StandIn):
    """numpy's scalar(dtype, bytes): a number."""

    def __new__(cls, dtype: Any, data: Any) -> Any:
        return _numbers(data, dtype, (), "C").item()


class _Encode(_StandIn):
    """_codecs.encode(text, "latin1"): the bytes of protocols that have none."""

    def __new__(cls, text: str, encoding: str) -> Any:
        return str(text).encode("latin1")


class _NoBytes(_StandIn):
    """bytes(): none at all, in protocols that cannot write b"" otherwise."""

    def __new__(cls) -> Any:
        return b""


NAMES: dict[tuple[str, str], type[_StandIn]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encode,
    ("__builtin__", "bytes"): _NoBytes,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _FromBuffer),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise UserError(f"the pickle asks for {module}.{name}: it is not data, and nothing of it was run")
        return NAMES[module, name]


def _numbers(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
        raise UserError("an array without a type or without its bytes")
    return np.frombuffer(raw, dtype.value).reshape(shape, order=order)


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """Stand-ins become arrays; what is shared stays shared, or a small file could unfold into a large tree."""
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        plain: Any = seen.setdefault(id(value), {})
        plain.update({key: _plain(member, seen) for key, member in value.items()})
        return plain
    if isinstance(value, list | tuple):
        plain = seen.setdefault(id(value), [])
        plain.extend(_plain(member, seen) for member in value)
        return plain
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise UserError(f"the pickle holds a {type(value).__name__}: it is not data")
