"""Random, Sobol and grid points; the unit interval mapped onto every distribution."""

import collections
import math
import warnings

import numpy as np
import pytest

from tests.tuner.sampling.made import CONDITIONAL, FLAT, MIXED, Limited, made_sweep
from trainables.errors import UserError
from tuner.journal import Trial
from tuner.sampling import known_points, planned_trials, suggest
from tuner.sampling.units import unit_of
from tuner.space import Choice, Distribution, Int, Space, Uniform

SIXTEENTHS = [(2 * place + 1) / 32 for place in range(16)]


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (Uniform(0.0, 1.6), [0.05 + 0.1 * place for place in range(16)]),
        (Uniform(0.0, 0.75, step=0.25), [0.0] * 4 + [0.25] * 4 + [0.5] * 4 + [0.75] * 4),
        (Uniform(0.0, 0.8, step=0.25), [0.0] * 4 + [0.25] * 4 + [0.5] * 4 + [0.75] * 4),  # 0.8 is on no step
        (Int(3, 6), [3] * 4 + [4] * 4 + [5] * 4 + [6] * 4),
        (Choice(("a", "b")), ["a"] * 8 + ["b"] * 8),
        (Uniform(1e-4, 1.0, log=True), [10 ** (-4 + 4 * unit) for unit in SIXTEENTHS]),
    ],
    ids=str,
)
def test_equal_parts_have_equal_probability(distribution: Distribution, expected: list[object]) -> None:
    found = [distribution.at(unit) for unit in SIXTEENTHS]
    assert found == (pytest.approx(expected) if isinstance(expected[0], float) else expected)


def test_a_whole_number_has_its_share_of_the_logarithm() -> None:
    """1, 2, 3 of [0.5, 3.5]: log 3 : log 5/3 : log 7/5 of log 7."""
    drawn = [Int(1, 3, log=True).at(unit) for unit in np.linspace(0, 1, 20000, endpoint=False)]
    counts = collections.Counter(drawn)
    for value, share in ((1, math.log(3)), (2, math.log(5 / 3)), (3, math.log(7 / 5))):
        assert counts[value] / 20000 == pytest.approx(share / math.log(7), abs=1e-3)


@pytest.mark.parametrize("key", [key for key, known in MIXED.items() if not isinstance(known, Choice)])
def test_coordinates_lead_back_to_the_value(key: str) -> None:
    distribution = MIXED[key]
    assert not isinstance(distribution, Choice)
    for unit in SIXTEENTHS:
        value = distribution.at(unit)
        assert distribution.at(unit_of(distribution, value)) == pytest.approx(value)
        assert value in distribution
    assert type(distribution.at(0.0)) is (int if isinstance(distribution, Int) else float)
    assert distribution.at(0.0) == pytest.approx(distribution.low)
    assert distribution.at(1.0) == pytest.approx(distribution.high)


def test_another_seed_or_number_gives_other_points() -> None:
    for sampler in ("random", "sobol", "tpe"):
        points = [suggest(made_sweep(sampler, seed=seed), number, {}).point for seed in (0, 1) for number in (1, 2)]
        assert len({str(point) for point in points}) == 4


def test_the_first_sobol_points_fall_into_different_parts() -> None:
    sweep = made_sweep("sobol", Space(MIXED, {}), seed=3)
    points = [suggest(sweep, number, {}).point for number in range(1, 9)]
    units = {
        key: [unit_of(known, point[key]) for point in points]  # type: ignore[arg-type]
        for key, known in MIXED.items()
        if key in ("real", "log", "steps", "whole")
    }
    for found in units.values():
        assert sorted(int(unit * 8) for unit in found) == list(range(8))
    words = collections.Counter(point["word"] for point in points)
    assert words == {"a": 2, "b": 2, "c": 2, "d": 2}
    assert collections.Counter(point["flag"] for point in points) == {True: 4, False: 4}


def test_sobol_points_are_those_of_scipy() -> None:
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = qmc.Sobol(4, scramble=True, seed=np.random.default_rng(5)).random(128)
        points = known_points(made_sweep("sobol", seed=5, trials=101), {})[1:]
    for row, point in zip(rows[:100], points, strict=True):
        assert [unit_of(FLAT[key], value) for key, value in point.items()] == pytest.approx(row)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_known_points_are_those_that_are_drawn(sampler: str) -> None:
    sweep = made_sweep(sampler, trials=70, points=[{"a": 0.01, "b": 1.0, "c": 0.01, "d": 0.1}])
    defaults = {"a": 0.01, "b": 0.5, "c": 0.01, "d": 0.1}
    known = {0: Trial(0, dict(defaults))}
    assert known_points(sweep, defaults)[1:] == [suggest(sweep, number, known).point for number in range(1, 70)]
    assert len(known_points(made_sweep("tpe"), defaults)) == 1


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_designs_keep_to_conditions_and_constraints(sampler: str) -> None:
    points = known_points(made_sweep(sampler, CONDITIONAL, trials=20), {})[1:]
    assert {tuple(point) for point in points} == {("loss", "x.tau", "lr"), ("loss", "y.margin", "lr")}
    limited = Limited(FLAT, lambda point: float(point["b"]) < 0.2)
    points = known_points(made_sweep(sampler, limited, trials=20), {})[1:]
    assert all(point["b"] < 0.2 for point in points) and len({str(point) for point in points}) == 19  # type: ignore[operator]
    with pytest.raises(UserError, match=r"^constraints: none of 1000 points in a row fulfils them"):
        suggest(made_sweep(sampler, Limited(FLAT, lambda point: False)), 1, {})


def test_the_grid_goes_on_where_the_points_before_end() -> None:
    space = Space({"x": Choice((1, 2), grid=True), "y": Choice(("a", "b", "c"))}, {})
    sweep = made_sweep("grid", space, trials=100, points=[{"x": 2, "y": "b"}])
    defaults = {"x": 1, "y": "a"}
    assert planned_trials(sweep, defaults) == 6 and planned_trials(sweep, {"x": 7, "y": "a"}) == 7
    known = {0: Trial(0, dict(defaults))}
    points = [suggest(sweep, number, known).point for number in range(1, 6)]
    assert [(point["x"], point["y"]) for point in points] == [(2, "b"), (1, "b"), (1, "c"), (2, "a"), (2, "c")]
    with pytest.raises(UserError, match="the grid has no point for trial 6"):
        suggest(sweep, 6, known)
    assert planned_trials(made_sweep("grid", space, trials=4), defaults) == 4
