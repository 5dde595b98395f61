"""Pickles from outside: data of every protocol come through, and nothing else does, nor is anything run."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.data.pickles import read_plain
from trainables.errors import UserError

DATA = {
    "imlist": ["all_souls_000013", "b"],
    "gnd": [{"bbx": [136.5, 34.0, 648.5, 955], "easy": np.array([3, 5]), "junk": (1, 2)}],
    "matrix": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
    "empty": np.array([]),
    "number": np.float64(0.25),
    "flags": [True, None, 2**70, b"\xff"],
}


def write(folder: Path, content: bytes) -> Path:
    file = folder / "gnd_x.pkl"
    file.write_bytes(content)
    return file


def refused(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_plain(file)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_of_every_protocol_come_through(protocol: int, tmp_path: Path) -> None:
    found = read_plain(write(tmp_path, pickle.dumps(DATA, protocol=protocol)))
    assert list(found) == list(DATA)
    assert found["imlist"] == DATA["imlist"] and found["flags"] == DATA["flags"]
    assert found["gnd"][0]["bbx"] == [136.5, 34.0, 648.5, 955] and found["gnd"][0]["junk"] == [1, 2]
    assert found["gnd"][0]["easy"].tolist() == [3, 5]
    np.testing.assert_array_equal(found["matrix"], DATA["matrix"])
    assert found["empty"].shape == (0,)
    assert found["number"] == 0.25 and type(found["number"]) is float


def test_what_python_2_wrote(tmp_path: Path) -> None:
    # {'imlist': ['a'], 'easy': array([200, 3])}, the array's bytes a Python 2 str, under numpy's old name
    body = b"\xc8\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"
    content = (
        b"\x80\x02}q\x01(U\x06imlistq\x02]q\x03U\x01aq\x04aU\x04easyq\x05"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08"
        b"(K\x01K\x02\x85cnumpy\ndtype\nq\x09U\x02i8K\x00K\x01\x87Rq\x0a(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x10" + body + b"tbu."
    )
    found = read_plain(write(tmp_path, content))
    assert found["imlist"] == ["a"] and found["easy"].tolist() == [200, 3]


class Runs:
    """Unpickled the ordinary way, it calls."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_runs_nothing(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    content = pickle.dumps({"imlist": [], "gnd": Runs(os.system, f"touch {mark}")}, protocol=protocol)
    said = refused(write(tmp_path, content))
    assert "posix.system: it is not data, and nothing of it was run" in said
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists(), "the pickle is one that runs"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Runs(eval, "1"), "builtins.eval"),
        (Runs(getattr, "a", "upper"), "builtins.getattr"),
        (Runs(np.load, "x"), "numpy.load"),
        (Runs(np.fromfile, "x"), "numpy"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (Path("x"), "pathlib"),
        (complex(1, 2), "builtins.complex"),
    ],
)
def test_other_names_are_refused_by_name(call: Any, name: str, tmp_path: Path) -> None:
    assert f"asks for {name}" in refused(write(tmp_path, pickle.dumps(call, protocol=4)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # a dotted path from a name that is allowed
        (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", "numpy.ndarray.__class__"),
        # Python 2's name of the builtins, the extension registry, a persistent id
        (b"c__builtin__\neval\n.", "__builtin__.eval"),
        (b"\x80\x02\x82\xf0.", "cannot be read"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "cannot be read"),
    ],
)
def test_the_other_doors_of_the_format_are_shut(content: bytes, said: str, tmp_path: Path) -> None:
    assert said in refused(write(tmp_path, content))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([{"a": 1}, None], dtype=object), "an array of type 'O8'"),
        (np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), "an array of type 'V12'"),
        (np.array(["a"]), "an array of type 'U1'"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "an array of type 'M8'"),
    ],
)
def test_only_arrays_of_numbers_are_read(array: np.ndarray, said: str, tmp_path: Path) -> None:
    assert said in refused(write(tmp_path, pickle.dumps(array, protocol=2)))


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(3, dtype=np.uint8), protocol=2)
    assert b"K\x03\x85" in content
    assert "cannot be read" in refused(write(tmp_path, content.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85")))


def test_an_array_has_bytes_and_not_a_number_of_them(tmp_path: Path) -> None:
    content = (
        b"\x80\x02cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00u1\x89\x88\x87R"
        b"J\xff\xff\xff\x7f\x86R."
    )
    assert "without its bytes" in refused(write(tmp_path, content))


def test_a_pickle_cannot_change_what_the_next_one_finds(tmp_path: Path) -> None:
    for name in ("ndarray", "dtype"):
        # the state (None, {"__init__": 1}) for the class itself
        content = f"cnumpy\n{name}\n".encode() + b"(N}X\x08\x00\x00\x00__init__K\x01stb."
        refused(write(tmp_path, content))
        assert read_plain(write(tmp_path, pickle.dumps(np.arange(3)))).tolist() == [0, 1, 2]
    for name in (b"c_codecs\nencode\n", b"cnumpy.core.multiarray\nscalar\n", b"cnumpy._core.numeric\n_frombuffer\n"):
        refused(write(tmp_path, name + b"(N}X\x07\x00\x00\x00__new__K\x01stb."))
        assert read_plain(write(tmp_path, pickle.dumps(np.arange(3), protocol=5))).tolist() == [0, 1, 2]
        assert read_plain(write(tmp_path, pickle.dumps(np.float32(3), protocol=2))) == 3


def test_a_small_file_does_not_unfold_into_a_large_tree(tmp_path: Path) -> None:
    tree: list[Any] = []
    for _ in range(60):
        tree = [tree, tree]
    found = read_plain(write(tmp_path, pickle.dumps(tree)))
    assert found[0] is found[1]
    endless: list[Any] = []
    endless.append(endless)
    again = read_plain(write(tmp_path, pickle.dumps(endless)))
    assert again[0] is again


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps(DATA, protocol=4)[:-30],
        b"not a pickle\n",
        b"\x80\x02" + b"]" * 40_000 + b"a" * 39_999 + b".",
        b"\x80\x02c",
    ],
)
def test_what_is_broken_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    refused(write(tmp_path, content))


@pytest.mark.parametrize("value", [{1, 2}, frozenset({1}), bytearray(b"a")])
def test_other_containers_are_refused(value: Any, tmp_path: Path) -> None:
    refused(write(tmp_path, pickle.dumps(value, protocol=5)))
    with pytest.raises(UserError):
        read_plain(tmp_path / "nowhere.pkl")
