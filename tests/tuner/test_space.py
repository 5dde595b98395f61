"""Distributions: what may be written, what they hold, how a point becomes overrides."""

import pytest

from trainables.errors import UserError
from tuner import space
from tuner.language import parse
from tuner.space import Choice, Int, Space, Uniform


def test_every_kind_is_read() -> None:
    assert parse("p", {"uniform": [0, 2]}) == Uniform(0.0, 2.0)
    assert parse("p", {"loguniform": [1e-4, 1]}) == Uniform(1e-4, 1.0, log=True)
    assert parse("p", {"quniform": [0, 1, 0.25]}) == Uniform(0.0, 1.0, step=0.25)
    assert parse("p", {"int": [1, 8]}) == Int(1, 8)
    assert parse("p", {"logint": [1, 64]}) == Int(1, 64, log=True)
    assert parse("p", {"choice": ["a", 2, True]}) == Choice(("a", 2, True))
    assert parse("p", {"grid": [1, 2]}) == Choice((1, 2), grid=True)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"loguniforn": [1, 2]}, "did you mean 'loguniform'"),
        ({"uniform": [2, 1]}, "needs low < high"),
        ({"loguniform": [0, 1]}, "needs low > 0"),
        ({"uniform": [1]}, r"takes \[low, high\]"),
        ({"uniform": ["a", 1]}, "all numbers"),
        ({"int": [1.5, 3]}, "whole numbers"),
        ({"quniform": [0, 1, 0]}, "step of quniform"),
        ({"choice": []}, "at least one"),
        ({"choice": [1, 1]}, "twice"),
        ({"choice": [[1]]}, "numbers, words"),
        ({"uniform": [0, float("inf")]}, "all numbers"),
        ([1, 2], "one distribution"),
        (3, "one distribution"),
    ],
)
def test_mistakes(written: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse("some.path", written)


def test_membership() -> None:
    assert 0.5 in Uniform(0, 1) and 2 not in Uniform(0, 1) and True not in Uniform(0, 1)
    assert 3 in Int(1, 4) and 3.5 not in Int(1, 4)
    assert "a" in Choice(("a",)) and "b" not in Choice(("a",))


def test_points_become_overrides_exactly() -> None:
    point: space.Point = {"a.lr, b.lr": 0.1 + 0.2, "flag": True, "name": "x", "n": 3}
    assert space.overrides(point) == [
        "a.lr=0.30000000000000004",
        "b.lr=0.30000000000000004",
        "flag=true",
        "name=x",
        "n=3",
    ]


def test_grid_is_every_combination() -> None:
    points = list(space.grid(Space({"a": Choice((1, 2), grid=True), "b": Choice(("x", "y", "z"))})))
    assert len(points) == 6 and points[0] == {"a": 1, "b": "x"} and points[-1] == {"a": 2, "b": "z"}
    with pytest.raises(UserError, match="not a range"):
        list(space.grid(Space({"a": Uniform(0, 1)})))
