"""The commands on a journal that a sweep left: what they print, write and refuse."""

import json
from pathlib import Path

import pytest

from tests.tuner.analysis.made import METRIC
from tuner.__main__ import main
from tuner.journal import Journal
from tuner.sweep import Sweep


@pytest.fixture
def ran(sweep: Sweep) -> Sweep:
    """A journal of 12 trials, three of them stopped, one infeasible."""
    journal = Journal(sweep.folder)
    journal.open()
    journal.write("sweep", trials=12, epochs=4, launch="x", sweep=sweep.model_dump(mode="json"))
    for number in range(12):
        place = number / 12
        point = {key: known.low * (known.high / known.low) ** place if known.low else 2 * place  # type: ignore[union-attr,operator]
                 for key, known in sweep.distributions.items()}  # fmt: skip
        journal.write("point", trial=number, point=point)
        epochs, state, reason = 4, "finished", ""
        if number in (1, 2, 3):
            epochs, state, reason = 1, "stopped", "asha: rung 1, 0.1 < 0.2"
        if number == 4:
            epochs, state, reason = 0, "infeasible", "diverged: loss is nan"
        for epoch in range(1, epochs + 1):
            journal.write("report", trial=number, epoch=epoch, metrics={METRIC: place * epoch / 4, "time/epoch_s": 1.0})
        journal.write("end", trial=number, state=state, reason=reason)
    journal.close()
    return sweep


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    output = capsys.readouterr()
    return code, output.out, output.err


def test_analysis_has_every_section_in_80_columns(
    ran: Sweep, sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "analysis.json"
    code, out, _ = told(capsys, "analysis", str(ran.folder), "--json", str(file))
    assert code == 0
    lines = out.splitlines()
    heads = [line.partition(":")[0] for line in lines if line and line[0] != " "]
    assert heads == ["BEST", "IMPORTANCE", "RANGES", "ISOLATION", "TRIALS", "EPOCHS", "BUDGET", "STOPPED WINNERS"]
    assert "trial 0011 has the best val/map_at_r, 0.9167" in out and "no winner before" in out
    assert "stopping saved 9 epochs" in out and "the last one in 7 of 8 finished trials: train longer" in out
    assert max(map(len, lines)) <= 80
    data = json.loads(file.read_text())
    assert data["within_noise"] == [11] and len(data["axes"]["loss.SupAP.tau"]) == 12
    assert data["noise"]["difference"] is None and data["epochs"]["saved"] == 9


def test_results_have_every_trial_and_its_reason(
    ran: Sweep, sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = told(capsys, "results", str(sweep_file), "--csv", str(tmp_path / "table.csv"))
    assert code == 0 and len(out.splitlines()) == 13
    assert out.splitlines()[1].split()[:4] == ["0011", "finished", "4", "0.9167"]
    assert "diverged: loss is nan" in out and out.count("asha: rung 1") == 3
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 13
    code, _, err = told(capsys, "results", str(sweep_file), "--csv", str(tmp_path / "no" / "table.csv"))
    assert code == 2 and err.startswith("roadmap-tune: cannot write") and err.count("\n") == 1


def test_what_ran_counts_not_what_the_file_says_now(
    ran: Sweep, sweep_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_file.write_text(sweep_file.read_text().replace("optimizer.backbone.lr", "optimizer.fc.lr"))
    _, out, _ = told(capsys, "results", str(sweep_file))
    assert "backbone.lr" in out and "fc.lr" not in out


def test_compare_and_its_refusals(
    ran: Sweep, sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = told(capsys, "compare", str(sweep_file), str(sweep_file))
    assert (
        code == 0
        and "trust neither" in out
        and ["12", "trials", "small", "(1)"] in [line.split()[:4] for line in out.splitlines()]
    )
    assert told(capsys, "compare", str(sweep_file))[2].strip().endswith("compare takes two sweeps or more")
    other = tmp_path / "other.yaml"
    other.write_text(sweep_file.read_text().replace("name: small", "name: other"))
    code, _, err = told(capsys, "compare", str(sweep_file), str(other))
    assert code == 2 and "there is no sweep" in err


def test_an_audit_of_a_sweep_that_runs_is_refused(
    ran: Sweep, sweep_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(ran.folder)
    journal.open()
    code, _, err = told(capsys, "audit", str(sweep_file))
    journal.close()
    assert code == 2 and "is running" in err
    assert told(capsys, "audit", str(sweep_file), "--trials", "0")[0] == 2


def test_schedules_are_not_analysed_as_points(
    ran: Sweep, sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "population"
    journal = Journal(folder)
    journal.open()
    pbt = ran.model_copy(update={"scheduler": ran.scheduler.model_copy(update={"name": "pbt"})})
    journal.write("sweep", trials=12, epochs=4, launch="x", sweep=pbt.model_dump(mode="json"))
    journal.close()
    for command in ("analysis", "audit"):
        code, _, err = told(capsys, command, str(folder))
        assert code == 2 and "a value is that of a schedule" in err and err.count("\n") == 1
