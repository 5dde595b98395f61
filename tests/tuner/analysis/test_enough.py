"""The best of n against every resample there is; noise by hand; epochs and budgets by hand."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from tests.tuner.analysis.made import METRIC, lasting, results, trial
from trainables.errors import UserError
from tuner.analysis.costs import best_so_far
from tuner.analysis.enough import best_of, enough
from tuner.analysis.epochs import epochs, reached
from tuner.analysis.noise import Noise, noise


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_best_of_is_the_limit_of_all_resamples(count: int) -> None:
    scores = np.array([0.3, 0.1, 0.7, 0.2])
    largest = np.sort([max(draw) for draw in itertools.product(scores, repeat=count)])
    found = best_of(scores, count)
    assert found.expected == pytest.approx(largest.mean())
    assert found.low == largest[math.ceil(0.05 * len(largest)) - 1]
    assert found.high == largest[math.ceil(0.95 * len(largest)) - 1]


def test_enough_weighs_the_last_doubling_against_the_noise() -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    for mode, told in (("max", values), ("min", [-value for value in values])):
        made = results(lasting([{"lr": 0.1}] * 8, told), objective={"metric": METRIC, "mode": mode})
        gain = enough(made, Noise(None, "")).gain
        largest = [
            np.mean([max(d) for d in itertools.product(values, repeat=4)]),
            best_of(np.array(values), 8).expected,
        ]
        assert gain == pytest.approx(largest[1] - largest[0])
        assert enough(made, Noise(gain + 0.01, "")).enough is True and enough(made, Noise(gain / 2, "")).enough is False
        assert enough(made, Noise(None, "")).enough is None
        assert [one.trials for one in enough(made, Noise(None, "")).curve] == [1, 2, 4, 8]


def test_noise_of_seeds_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "curves.csv"
    rows = ["0,1,1,0.20", "0,1,2,0.22", "1,1,1,0.9", "2,5,1,0.24", "3,6,1,0.25", "3,6,2,0.26"]
    file.write_text(f"trial,seed,epoch,{METRIC}\n" + "\n".join(rows) + "\n")
    made = results(lasting([{"lr": 0.1}] * 3, [0.5, 0.45, 0.1]))
    found = noise(made, file)
    # seeds' best 0.22, 0.24, 0.26: standard deviation 0.02; t of 2 degrees 4.3027
    assert found.difference == pytest.approx(4.3027 * math.sqrt(2) * 0.02, rel=1e-4)
    assert [one.number for one in found.within(made)] == [0, 1]
    file.write_text(f"trial,seed,epoch,{METRIC}\n0,1,1,0.2\n")
    with pytest.raises(UserError, match="one seed only"):
        noise(made, file)
    with pytest.raises(UserError, match="no column 'seed'"):
        file.write_text("trial,epoch\n")
        noise(made, file)


def test_noise_of_folds_by_hand() -> None:
    trials = lasting([{"lr": 0.1}] * 2, [0.5, 0.45])
    for one, folds in zip(trials, ([0.4, 0.5, 0.6], [0.36, 0.44, 0.55]), strict=True):
        one.reports[1] |= {f"folds/{n}/map_at_r": value for n, value in enumerate(folds)}
    made = results(trials)
    # differences 0.04, 0.06, 0.05: standard deviation 0.01
    assert noise(made).difference == pytest.approx(4.3027 * 0.01 / math.sqrt(3), rel=1e-4)
    assert [one.number for one in noise(made).within(made)] == [0]


def test_without_folds_or_seeds_nothing_measures_the_noise() -> None:
    made = results(lasting([{"lr": 0.1}] * 3, [0.5, 0.5, 0.1]))
    assert noise(made).difference is None and [one.number for one in noise(made).within(made)] == [0]


def test_epochs_and_budget_by_hand() -> None:
    trials = [
        trial(0, {}, [0.1, 0.2, 0.3, 0.4], at=0),
        trial(1, {}, [0.3, 0.2], "stopped", at=10),
        trial(2, {}, [0.1, 0.5, 0.4, 0.3], at=20),
        trial(3, {}, [], "infeasible"),
        trial(4, {}, [0.0, 0.1, 0.2, 0.3], at=30, seconds=7200),
    ]
    made = results(trials, resources={"cpu": 2})
    found = epochs(made, 4)
    assert found.best == {2: 1, 4: 2} and found.last == 2 and found.finished == 3 and found.longer
    assert (found.run, found.saved) == (14, 2)
    assert found.hours == pytest.approx(2 * 18) and found.saved_hours == pytest.approx(2 * 2)
    assert [(one.trials, one.epochs, one.best) for one in reached(made)] == [
        (1, 4, 0.4), (3, 7, 0.4), (4, 11, 0.5), (4, 14, 0.5)
    ]  # fmt: skip
    assert [one.best for one in best_so_far(made)][:6] == [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
