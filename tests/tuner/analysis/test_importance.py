"""Planted effects are found, chance is called chance, and keys that exist in some points only are judged there."""

import numpy as np
import pytest

from tests.tuner.analysis.made import lasting, results, trial
from tuner.analysis.importance import importances
from tuner.results import Results

SPACE = {"strong": {"loguniform": [1e-4, 1e-1]}, "weak": {"uniform": [0, 1]}, "none": {"choice": ["a", "b"]}}


def planted(count: int, stopped: bool) -> Results:
    """The best lies at strong = 1e-2; weak counts a fifth; none counts for nothing."""
    generator = np.random.default_rng(0)
    trials = []
    for number in range(count):
        place, weak = generator.random(2)
        point = {"strong": 10 ** (3 * place - 4), "weak": float(weak), "none": "ab"[number % 2]}
        value = 1 - abs(place - 2 / 3) - 0.2 * weak
        early = stopped and value < 0.6
        values = [value / 2] if early else [value / 2, value]
        trials.append(trial(number, point, values, "stopped" if early else "finished"))
    return results(trials, SPACE)


@pytest.mark.parametrize(("stopped", "method"), [(False, "fANOVA"), (False, "PED-ANOVA"), (True, "PED-ANOVA")])
def test_planted_effects_are_ordered(stopped: bool, method: str) -> None:
    found = importances(planted(40, stopped), method)
    assert found.method == method and found.trials == 40
    assert found.rows[0].key == "strong" and found.rows[0].share > 0.6 and not found.rows[0].by_chance
    shares = {row.key: row.share for row in found.rows}
    assert shares["strong"] > shares["weak"] > shares["none"]
    assert sum(shares.values()) == pytest.approx(1)
    assert all(0 <= row.low <= row.high <= 1 for row in found.rows)
    assert next(row for row in found.rows if row.key == "none").by_chance


def test_fanova_is_not_asked_of_a_selection() -> None:
    found = importances(planted(40, stopped=True), "fANOVA")
    assert found.rows == () and found.trials == 0


def test_a_key_of_some_points_is_judged_over_them() -> None:
    generator = np.random.default_rng(1)
    trials = []
    for number in range(36):
        everywhere, sometimes = generator.random(2)
        point = {"weak": float(everywhere), "none": "ab"[number % 2]}
        if point["none"] == "b":
            point["strong"] = 10 ** (3 * float(sometimes) - 4)
        trials.append(trial(number, point, [float(everywhere)]))
    rows = {row.key: row for row in importances(results(trials, SPACE), "PED-ANOVA").rows}
    assert rows["strong"].trials == 18 and rows["weak"].trials == 36
    assert rows["weak"].share > 0.6 and not rows["weak"].by_chance
    few = importances(results([*trials[:19], *trials[20::2]], SPACE), "PED-ANOVA")
    assert few.left_out == ("strong",)


def test_too_few_trials_say_nothing() -> None:
    points = [{"strong": 0.01, "weak": 0.1 * n, "none": "a"} for n in range(9)]
    found = importances(results(lasting(points, [0.1 * n for n in range(9)]), SPACE), "PED-ANOVA")
    assert found.rows == () and found.trials == 9
