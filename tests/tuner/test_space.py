"""Distributions: what may be written, what they hold, how a point becomes overrides."""

import itertools
import math
import re
from collections import Counter

import pytest

from trainables.errors import UserError
from tuner import space
from tuner.language import parse, parse_space
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


def test_steps() -> None:
    assert parse("p", {"qint": [8, 64, 8]}) == Int(8, 64, step=8)
    assert parse("p", {"qloguniform": [0.1, 10, 0.1]}) == Uniform(0.1, 10.0, log=True, step=0.1)
    assert parse("p", {"constant": "a"}) == Choice(("a",), constant=True)
    assert [value in Int(8, 64, step=8) for value in (8, 24, 64, 12, 72)] == [True, True, True, False, False]
    assert 0.3 in Uniform(0, 1, step=0.1) and 0.35 not in Uniform(0, 1, step=0.1)
    assert Uniform(0, 1, step=0.3).edges() == (0, 0.9) and Int(1, 10, step=4).edges() == (1, 9)
    assert str(Choice((3,), constant=True)) == "always 3" and str(Int(8, 64, step=8)) == "8..64 in steps of 8"


@pytest.mark.parametrize(
    "known",
    [
        Uniform(0, 1, step=0.3),
        Uniform(0.01, 10, log=True),
        Uniform(0.1, 2, log=True, step=0.1),
        Int(1, 9),
        Int(2, 64, log=True),
        Int(8, 64, step=8),
        Choice(("a", "b", "c")),
    ],
    ids=str,
)
def test_equal_parts_of_the_unit_interval_are_equally_likely(known: space.Distribution) -> None:
    """Against the slow way: many places of the interval, how often each value comes."""
    drawn = [known.at(place / 6000) for place in range(6000)]
    assert all(value in known for value in drawn)
    if isinstance(known, Uniform) and known.step is None:
        assert drawn[3000] == pytest.approx(math.sqrt(0.01 * 10)) and drawn == sorted(drawn)
        return
    counts = Counter(drawn)
    if not getattr(known, "log", False):
        assert max(counts.values()) - min(counts.values()) <= 1
        return
    step = known.step
    assert isinstance(known, Uniform | Int) and step is not None
    ends = [max(known.low - step / 2, known.low / 2), float(known.edges()[1]) + step / 2]
    for value, count in counts.items():
        assert isinstance(value, float | int)
        share = math.log((value + step / 2) / max(value - step / 2, ends[0])) / math.log(ends[1] / ends[0])
        assert count / 6000 == pytest.approx(share, abs=3e-4)


CONDITIONAL = {
    "tau": {"choice": [1, 2], "when": {"loss": ["roadmap", "supap"]}},
    "deep": {"grid": [True, False], "when": {"tau": 2}},
    "loss": {"choice": ["roadmap", "supap", "smoothap"]},
    "lr": {"grid": [0.1, 0.2]},
}


def test_conditions() -> None:
    found = parse_space(CONDITIONAL)
    assert list(found.distributions) == ["loss", "tau", "deep", "lr"]
    assert found.needed("deep") == {"loss": ("roadmap", "supap"), "tau": (2,)}
    assert found.active("tau", {"loss": "supap"}) and not found.active("tau", {"loss": "smoothap"})
    assert not found.active("deep", {"loss": "smoothap"})  # what it waits for is not there either
    assert found.at([0.9, 0, 0, 0]) == {"loss": "smoothap", "lr": 0.1}
    assert found.at([0.9, 0.9, 0, 0], {"loss": "supap"}) == {"loss": "supap", "tau": 2, "deep": True, "lr": 0.1}


def test_a_grid_with_conditions_is_what_a_filter_leaves() -> None:
    constraints = ["lr < 0.2 or loss == 'smoothap'"]
    whole = itertools.product(["roadmap", "supap", "smoothap"], [1, 2], [True, False], [0.1, 0.2])
    slow = []
    for loss, tau, deep, lr in whole:
        point: space.Point = {"loss": loss, "lr": lr}
        if loss != "smoothap":
            point["tau"] = tau
            if tau == 2:
                point["deep"] = deep
        if (lr < 0.2 or loss == "smoothap") and point not in slow:
            slow.append(point)
    found = list(space.grid(parse_space(CONDITIONAL, constraints)))
    assert len(found) == len(slow) == 8 and all(point in slow for point in found)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"a": {"grid": [1], "when": {"los": 1}}, "loss": {"grid": [1, 2]}}, "unknown key of the space 'los', did you"),
        ({"a": {"grid": [1], "when": {"loss": "roadmop"}}, "loss": {"grid": ["roadmap"]}}, "did you mean 'roadmap'"),
        ({"a": {"grid": [1], "when": {"b": 1}}, "b": {"uniform": [0, 2]}}, "b is a range"),
        ({"a": {"grid": [1], "when": {"b": 1}}, "b": {"grid": [1], "when": {"a": 1}}}, "in a circle: a -> b -> a"),
        ({"a": {"grid": [1], "when": {"a": 1}}}, "in a circle: a -> a"),
        ({"a": {"grid": [1], "when": 3}}, "other key: value"),
        ({"a": {"grid": [1], "when": {"b": []}}, "b": {"grid": [1]}}, "at least one value"),
        (
            {"a": {"grid": [1], "when": {"b": 1, "c": 1}}, "b": {"grid": [1], "when": {"c": 2}}, "c": {"grid": [1, 2]}},
            "a can never exist",
        ),
        ({"a, b": {"grid": [1]}, "b": {"grid": [1]}}, "sets 'b' twice"),
        ({"a": {"constant": [1]}}, "constant takes one"),
        ({"a": {"qint": [1, 4, 0.5]}}, "whole numbers"),
        ({"a": {"quniform": [0, 1, 2]}}, "fit in the range"),
    ],
)
def test_mistakes_of_a_space(written: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        parse_space(written)
    assert "\n" not in str(caught.value)
