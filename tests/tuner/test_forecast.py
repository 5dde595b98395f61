"""What a sweep is said to cost, against ASHA's rule played out with random numbers, and by hand."""

from pathlib import Path

import numpy as np
import pytest

from trainables.probe import Cost
from tuner import load_sweep
from tuner.check import check_lines, forecast_lines
from tuner.forecast import expected_epochs, forecast, halved_epochs, passing
from tuner.plan import make_plan


@pytest.mark.parametrize("reduction", [2, 3, 4.5])
def test_who_passes_a_rung(reduction: float) -> None:
    """The slow way: values come one after another, each is compared with the quantile of those before it."""
    generator = np.random.default_rng(0)
    passed = np.zeros(12)
    for values in generator.random((4000, 12)):
        for place, value in enumerate(values):
            before = values[:place]
            passed[place] += not len(before) or value >= np.percentile(before, 100 * (1 - 1 / reduction))
    for arrivals in range(13):
        assert passing(arrivals, reduction) == pytest.approx(passed[:arrivals].sum() / 4000, abs=0.06)
    assert passing(2.5, 2) == pytest.approx((passing(2, 2) + passing(3, 2)) / 2)


def test_epochs_of_a_bracket() -> None:
    # two come to epoch 1: the first passes, the second with probability 1/2; these 1.5 run the other three epochs
    assert halved_epochs([1], 2, 4, 2) == 2 + 1.5 * 3
    assert halved_epochs([], 2, 4, 2) == 8


def test_the_cost_of_a_sweep(sweep_file: Path) -> None:
    hours = ["budget.hours=0.001"]
    plan = make_plan(load_sweep(sweep_file, [*hours, "scheduler={name: none}"]))
    found = forecast(plan, Cost(epoch_s=3.0, checkpoint_bytes=1000))
    assert (found.epochs, found.expected, found.disk, found.gpu_hours) == (24, 24, 12000, 0)
    assert found.hours == pytest.approx(24 * 3 / 2 / 3600)
    lines = "\n".join(forecast_lines(plan, found, Cost(3.0, 1000)))
    assert "epochs: 24 at most, about 24 expected with none" in lines and "about 36 seconds" in lines
    assert "more than budget.hours=0.001" in lines and "gpu_hours" not in lines
    folds = ["validation={protocol: kfold, folds: 3}"]
    assert forecast(make_plan(load_sweep(sweep_file, folds)), Cost(1.0, 10)).disk == 6 * 2 * 3 * 10


def test_schedulers(sweep_file: Path) -> None:
    at_most = 6 * 4
    halved = expected_epochs(make_plan(load_sweep(sweep_file)))
    brackets = expected_epochs(make_plan(load_sweep(sweep_file, ["scheduler.brackets=2"])))
    assert halved is not None and brackets is not None and 6 < halved < brackets < at_most
    assert expected_epochs(make_plan(load_sweep(sweep_file, ["scheduler={name: median}"]))) is None


def test_check_says_what_is_fixed_and_why(sweep_file: Path) -> None:
    blocks = [
        "train=[experience.max_iter=4, loss=supap, model=conv4]",
        "space={loss: {grid: [supap, smoothap]}, loss.SupAP.tau: {uniform: [0.01, 0.1], when: {loss: supap}}}",
        "study={scientific: [loss], nuisance: [loss.SupAP.tau], fixed: {model: it is small}}",
        "search={sampler: random, trials: 9}",
        "constraints=[loss.SupAP.tau < 0.09]",
    ]
    said = list(check_lines(make_plan(load_sweep(sweep_file, blocks)), probe=False))
    assert "  loss: {supap, smoothap}, preset supap" in said
    assert "  loss.SupAP.tau: [0.01, 0.1], when loss is supap, preset 0.01" in said
    assert "  where loss.SupAP.tau < 0.09" in said
    assert "study: 2 arms, each with the same 4 points of loss.SupAP.tau" in said and "  arm loss=smoothap" in said
    assert "  model=conv4: it is small" in said and "  experience.max_iter=4" in said and "  loss=supap" not in said
    assert not any(line.startswith("time:") for line in said)
    folded = make_plan(load_sweep(sweep_file, [*blocks, "validation={protocol: kfold, folds: 3}"]))
    epochs = f"epochs: 36 at most, about {expected_epochs(folded):.0f} expected with asha"
    assert epochs in said and f"{epochs}, each of 3 folds" in list(check_lines(folded, probe=False))


def test_check_measures_how_long_it_takes(sweep_file: Path, tmp_path: Path) -> None:
    said = list(check_lines(make_plan(load_sweep(sweep_file))))
    assert any(line.startswith("time: about ") for line in said)
    assert any(line.startswith("disk: up to ") for line in said)
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_data_that_are_not_here_cannot_be_measured(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "nothing"))
    said = list(check_lines(make_plan(load_sweep(sweep_file))))
    assert any(line.startswith("epochs: 24 at most; time and disk cannot be measured: ") for line in said)
