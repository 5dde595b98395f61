"""The table of simulated sweeps, its place in a document, and the commands."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tuner.simulation.test_simulator import METRIC, many
from tuner.__main__ import main
from tuner.journal import Journal
from tuner.simulation import savings
from tuner.simulation.commands import BEGIN, END, default_file, write_into
from tuner.simulation.curves import Curve, Curves
from tuner.simulation.savings import Row, report, simulate_row
from tuner.sweep import Sweep, load_sweep

ROWS = (("random", "none", 1, 3.0), ("random", "asha", 1, 3.0), ("random", "median", 3, 3.0))


def with_seeds(curves: Curves) -> Curves:
    """Two seeds that are 1.5 points apart."""
    values = curves.trials[0].values
    again = Curve(curves.trials[0].point, 1, values - 0.015, curves.trials[0].seconds)
    return Curves(METRIC, curves.trials, (curves.trials[0], again))


def test_a_row_is_its_simulated_sweeps(sweep: Sweep) -> None:
    row = simulate_row(sweep, many(), ("random", "asha", 2, 3.0), repeats=6, slots=2, trials=20)
    assert (row.sampler, row.scheduler) == ("random", "asha, grace 2, reduction 3")
    assert len(row.epochs) == 6 and row.epochs.max() < 180 and len(set(row.epochs)) > 1
    assert np.all(row.regret >= 0) and np.all(row.hours > 0)


def test_the_table_by_hand() -> None:
    curves = with_seeds(many(3, 4))
    whole = Row("random", "none", np.array([12, 12]), np.full(2, 0.5), np.array([8.0, math.inf]), np.zeros(2))
    saved = Row("random", "asha, grace 1, reduction 3", np.array([6, 4]), np.full(2, 0.2), np.full(2, 3.0),
                np.array([0.0, 0.014]))  # fmt: skip
    lossy = Row("random", "asha, grace 1, reduction 4", np.array([3, 3]), np.full(2, 0.1), np.full(2, 3.0),
                np.array([0.0, 0.016]))  # fmt: skip
    said = report(curves, "max", [whole, saved, lossy], slots=2)
    assert said[0].startswith("3 recorded points, 4 epochs each, 2 slots; the best reaches ")
    assert "a range of 1.50 points, standard deviation 1.06." in said[1]
    assert said[5:8] == [
        "| random | none | 2 | 12 | 0.50 | inf (never in 50%) | 0.00 | 0.00 | 0.00 |",
        "| random | asha, grace 1, reduction 3 | 2 | 5 (4 to 6) | 0.20 | 3 | 0.70 | 0.70 | 1.40 |",
        "| random | asha, grace 1, reduction 4 | 2 | 3 | 0.10 | 3 | 0.80 | 0.80 | 1.60 |",
    ]
    assert said[-1].endswith("asha, grace 1, reduction 3, 2.4 times fewer epochs than without stopping.")


def test_it_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        write_into(page, ["new", "table"])
        assert page.read_text() == f"before\n{BEGIN}\nnew\ntable\n{END}\nafter\n"


def test_the_command(
    sweep_file: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(savings, "ROWS", ROWS)
    with_seeds(many()).write(default_file(str(sweep_file)))
    page = sweep_file.parent / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    assert main(["simulate", str(sweep_file), "--repeats", "4", "--write", str(page)]) == 0
    printed = capsys.readouterr().out
    assert f"{BEGIN}\n{printed}{END}\n" == page.read_text()
    assert main(["simulate", str(sweep_file), "--repeats", "4"]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(("more", "said"), [
    (["--trials", "21"], "--trials=21: 20 points are recorded"),
    (["--trials", "0"], "--trials=0: more than 0"),
    (["--repeats", "1"], "--repeats=1: more than 1"),
    (["--slots", "0"], "--slots=0: more than 0"),
    (["--curves", "none.csv"], "there are no recorded curves in 'none.csv': `roadmap-tune record` makes them"),
    (["--write", "none.md"], "none.md has no"),
])  # fmt: skip
def test_mistakes_are_said_in_one_line(
    sweep_file: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(savings, "ROWS", ROWS)
    with_seeds(many()).write(default_file(str(sweep_file)))
    assert main(["simulate", str(sweep_file), "--repeats", "2", *more]) == 2
    error = capsys.readouterr().err.rpartition("\r")[2]
    assert said in error and error.count("\n") == 1


@pytest.mark.slow
def test_the_table_in_the_documents_is_the_simulators() -> None:
    """The rows with random points, simulated again from the shipped curves."""
    root = Path(__file__).parents[3]
    file = root / "search_spaces" / "emoji.yaml"
    sweep = load_sweep(file)
    curves = Curves.read(default_file(str(file)), sweep)
    page = (root / "docs" / "scheduling.md").read_text()
    rows = [
        simulate_row(sweep, curves, row, repeats=200, slots=2, trials=len(curves.trials))
        for row in savings.ROWS
        if row[0] == "random"
    ]
    for line in report(curves, sweep.objective.mode, rows, slots=2):
        assert f"\n{line}\n" in page


def test_shipped_curves_are_small() -> None:
    files = list((Path(__file__).parents[3] / "search_spaces" / "curves").glob("*.csv"))
    assert files and all(file.stat().st_size < 100_000 for file in files)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recorded_then_simulated(sweep_file: Path) -> None:
    command = [sys.executable, "-m", "tuner", "record", str(sweep_file), "--trials=4", "--epochs=3", "--seeds=2"]

    def recorded() -> None:  # by processes of their own, as everything here that starts a Ray
        done = subprocess.run(command, cwd=sweep_file.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    recorded()
    sweep = load_sweep(sweep_file)
    curves = Curves.read(default_file(str(sweep_file)), sweep)
    assert len(curves.trials) == 4 and len(curves.repeats) == 2 and curves.epochs == 3
    journal = Journal.read(sweep.folder.parent / "small-curves")
    for number, curve in enumerate(curves.trials):
        assert curve.point == pytest.approx(journal.trials[number].point, rel=1e-5)
        assert curve.values == pytest.approx(list(journal.trials[number].scores(METRIC).values()), rel=1e-5)
    before = default_file(str(sweep_file)).read_text()
    recorded()  # what has been trained is not trained again
    assert default_file(str(sweep_file)).read_text() == before
