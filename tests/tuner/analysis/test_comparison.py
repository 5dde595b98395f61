"""Sweeps against each other: budgets by hand, resamples against a loop, unlike ones refused."""

import numpy as np
import pytest

from tests.tuner.analysis.made import lasting, results, trial
from trainables.errors import UserError
from tuner.analysis.comparison import RESAMPLES, check_alike, compare
from tuner.analysis.noise import Noise
from tuner.results import Results

UNKNOWN = Noise(None, "")


def spread(name: str, top: float, epochs: int = 1, count: int = 12) -> Results:
    values = np.linspace(top - 0.1, top, count)
    trials = [trial(n, {"lr": 0.1}, [v] * epochs, at=100 * n) for n, v in enumerate(values.tolist())]
    return results(trials, name=name)


def test_budgets_are_those_of_the_smallest_sweep() -> None:
    found = compare([spread("a", 0.5), spread("b", 0.9, epochs=4)], UNKNOWN)
    budgets = {
        axis: sorted({s.budget for s in found.stands if s.axis == axis}) for axis in ("trials", "epochs", "hours")
    }
    assert budgets == {"trials": [3, 6, 9, 12], "epochs": [3, 6, 9, 12], "hours": pytest.approx([3, 6, 9, 12])}
    at = {(s.sweep, s.axis, s.budget): s for s in found.stands}
    assert at["a", "trials", 12].best == pytest.approx(0.5) and at["b", "trials", 12].best == pytest.approx(0.9)
    # 12 epochs pay for 3 trials of b, which rise from 0.8 on
    assert at["b", "epochs", 12].best == pytest.approx(np.linspace(0.8, 0.9, 12)[2])
    assert at["b", "epochs", 3].low is None


def test_intervals_are_those_of_a_loop() -> None:
    one = spread("a", 0.5)
    found = next(s for s in compare([one, spread("b", 0.6)], UNKNOWN).stands if s.axis == "epochs" and s.budget == 3)
    rows = np.random.default_rng([0, 0]).integers(12, size=(RESAMPLES, 12))
    values = np.linspace(0.4, 0.5, 12)
    best = sorted(max(values[place] for place in row[:3]) for row in rows)
    assert found.low == pytest.approx(best[round(0.05 * RESAMPLES) - 1])
    assert found.high == pytest.approx(best[round(0.95 * RESAMPLES) - 1])


def test_the_verdict() -> None:
    clear = compare([spread("a", 0.5), spread("b", 0.9)], UNKNOWN)
    assert clear.trusted == "b" and clear.ahead == {"a": 0.0, "b": 1.0} and "confirm" in clear.verdict
    assert compare([spread("a", 0.5), spread("b", 0.501)], UNKNOWN).trusted is None
    noisy = compare([spread("a", 0.5), spread("b", 0.9)], Noise(0.5, ""))
    assert noisy.trusted is None and "noise" in noisy.verdict
    same = compare([spread("a", 0.5), spread("a", 0.5)], UNKNOWN)
    assert same.ahead == {"a (1)": pytest.approx(0.5, abs=0.05), "a (2)": pytest.approx(0.5, abs=0.05)}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"objective": {"metric": "val/recall_at_1"}}, "objective.metric"),
        ({"objective": {"mode": "min"}}, "objective.mode"),
        ({"validation": {"fraction": 0.2}}, "validation.fraction=0.3.*validation.fraction=0.2"),
        ({"resources": {"gpu": 1.0}}, "CPU hours"),
    ],
)
def test_unlike_sweeps_are_refused(other: dict, told: str) -> None:  # type: ignore[type-arg]
    trials = lasting([{"lr": 0.1}] * 2, [0.1, 0.2])
    with pytest.raises(UserError, match=told):
        check_alike([results(trials), results(trials, name="other", **other)])


def test_a_sweep_without_a_value_is_refused() -> None:
    with pytest.raises(UserError, match="no trial that has ended"):
        compare([spread("a", 0.5), results([trial(0, {}, [], "failed")], name="b")], UNKNOWN)
