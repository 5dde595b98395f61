"""roadmap-tune confirm: what it refuses, and one from start to verdict, killed on the way, looked at again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tuner.test_runs import left_behind, wait_for
from trainables import compose
from trainables.errors import UserError
from tuner import load_sweep
from tuner.__main__ import main
from tuner.confirmation.arms import fresh_seeds, overrides
from tuner.confirmation.confirmation import confirm
from tuner.confirmation.ledger import FILE, Ledger, Repeat
from tuner.confirmation.values import read_values
from tuner.journal import Journal
from tuner.sweep import Sweep

DEFAULTS = {"loss.SupAP.tau": 0.01, "loss.CalibrationLoss.weight": 1.0, "optimizer.backbone.lr": 0.0003}
OTHER = {"loss.SupAP.tau": 0.02, "loss.CalibrationLoss.weight": 0.5, "optimizer.backbone.lr": 0.003}


def write_sweep(sweep: Sweep, values: dict[int, list[float]], planned: int | None = None) -> None:
    """A journal as the sweep would have left it. values: trial -> objective by epoch."""
    journal = Journal(sweep.folder)
    journal.open()
    journal.write("sweep", launch="swept", trials=planned or len(values), sweep=sweep.model_dump(mode="json"))
    for number, scores in values.items():
        journal.write("point", trial=number, point=OTHER if number else DEFAULTS)
        for epoch, score in enumerate(scores, start=1):
            journal.write("report", trial=number, epoch=epoch, metrics={"val/map_at_r": score})
        journal.write("end", trial=number, state="finished" if scores else "infeasible", reason="")
    journal.close()


@pytest.mark.parametrize(
    ("values", "planned", "options", "said"),
    [
        (None, None, {}, "there is no sweep 'small'"),
        ({0: [0.1], 1: [0.2]}, 3, {}, "has not ended: finish it first, or --now"),
        ({0: [0.3], 1: [0.2]}, None, {}, "the presets' own point (trial 0000) won"),
        ({0: [], 1: []}, None, {}, "no trial of sweep 'small' has a value"),
        ({0: [], 1: [0.2]}, None, {}, "(trial 0000, infeasible) has no value"),
        ({0: [0.1], 1: [0.2]}, None, {"arms": 2}, "arms=2: 1 trials beside the presets' have a value"),
    ],
)
def test_refused_in_one_line_and_nothing_is_trained(
    sweep: Sweep, values: dict[int, list[float]] | None, planned: int | None, options: dict[str, int], said: str
) -> None:
    if values is not None:
        write_sweep(sweep, values, planned)
    with pytest.raises(UserError) as caught:
        confirm(sweep, **options)  # type: ignore[arg-type]
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not Ledger.read(sweep.folder).confirmations


def test_another_sweep_of_that_name_is_refused(sweep: Sweep, sweep_file: Path) -> None:
    write_sweep(sweep, {0: [0.1], 1: [0.2]})
    with pytest.raises(UserError, match="ran with another validation"):
        confirm(load_sweep(sweep_file, ["validation.fraction=0.5"]))


def test_a_data_set_without_a_test_split_is_refused(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.data import Emoji

    write_sweep(sweep, {0: [0.1], 1: [0.2]})
    monkeypatch.setattr(Emoji, "test", lambda self: ())
    with pytest.raises(UserError, match="dataset=emoji has no test split"):
        confirm(sweep)


def test_seeds_are_fresh() -> None:
    assert fresh_seeds(3, {333, 12}) == [334, 335, 336]


def test_the_training_has_the_whole_train_split_and_the_best_epoch(sweep: Sweep) -> None:
    from tuner.confirmation.arms import chosen
    from tuner.results import Results

    write_sweep(sweep, {0: [0.1, 0.15, 0.12], 1: [0.1, 0.2, 0.3, 0.25]})
    defaults, winner = chosen(Results.read(sweep), 1)
    assert (defaults.role, defaults.epochs, winner.role, winner.epochs) == ("defaults", 2, "winner", 3)
    experience = compose(overrides(sweep, Repeat(winner, 334))).experience
    assert (experience.seed, experience.max_iter) == (334, 3)
    assert not experience.validates and experience.test_eval_freq == -1


def start(sweep_file: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tuner", "confirm", str(sweep_file), "--seeds=2", *more],
        cwd=sweep_file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(folder: Path) -> list[str]:
    path = folder / FILE
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event["repeat"] for event in events if event["event"] == "end"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_start_to_verdict_killed_on_the_way_and_once_more(
    sweep: Sweep, sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(sweep, {0: [0.1, 0.15], 1: [0.1, 0.2, 0.3, 0.25]})
    process = start(sweep_file)
    wait_for(lambda: len(ended(sweep.folder)) >= 1 or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not left_behind(process.pid), 30)
    before = ended(sweep.folder)
    assert 1 <= len(before) < 4 and not Ledger.read(sweep.folder).seen

    resumed = start(sweep_file, "--set=budget.concurrent=1")
    output, _ = resumed.communicate(timeout=250)
    assert resumed.returncode == 0, output
    assert sorted(ended(sweep.folder)) == ["0000-seed334", "0000-seed335", "0001-seed334", "0001-seed335"]
    (confirmation,) = Ledger.read(sweep.folder).confirmations
    assert confirmation.complete and confirmation.verdicts
    (verdict,) = confirmation.verdicts
    assert verdict.sentence() in output and "seen once" in output and "Traceback" not in output
    check_values(sweep.folder, confirmation.repeats)
    check_runs(tmp_path)

    code = main(["confirm", str(sweep_file), "--seeds=2"])  # in this process: it starts no Ray
    told = capsys.readouterr().err
    assert code == 2 and "test split seen once" in told and "--again" in told
    again = start(sweep_file, "--again", "--set=budget.concurrent=1")
    output, _ = again.communicate(timeout=250)
    assert again.returncode == 0, output
    assert "seen 2 times" in output
    ledger = Ledger.read(sweep.folder)
    assert ledger.seen == 2 and ledger.confirmations[1].again
    assert ledger.confirmations[1].seeds == (336, 337)


def check_values(folder: Path, repeats: dict[str, Repeat]) -> None:
    """The means in the ledger are those of the values kept by query; the verdict's difference is theirs."""
    for repeat in repeats.values():
        assert repeat.test is not None
        for split, metrics in read_values(folder / repeat.values).items():
            for name, by_query in metrics.items():
                assert repeat.test[f"{split}/{name}"] == pytest.approx(float(np.nanmean(by_query)))
        assert sorted(repeat.reports) == list(range(1, repeat.arm.epochs + 1))
        assert not any(name.startswith(("val/", "test/")) for report in repeat.reports.values() for name in report)


def check_runs(folder: Path) -> None:
    """One parent, two arms, four seeds; each test metric written once, and once for each arm."""
    connection = sqlite3.connect(folder / "mlruns" / "mlflow.db")
    kinds = dict(connection.execute("select value, count(*) from tags where key = 'kind' group by value"))
    written = connection.execute("select count(*) from metrics where key = 'test/map_at_r'").fetchone()[0]
    states = {status for (status,) in connection.execute("select status from runs")}
    of_kind = "select run_uuid from tags where key = 'kind' and value = '{}'"
    above = f"select distinct value from tags where key = 'mlflow.parentRunId' and run_uuid in ({of_kind})"
    arms = set(connection.execute(of_kind.format("confirm-arm")))
    assert set(connection.execute(above.format("confirm-training"))) == arms, "a seed is below its arm"
    connection.close()
    assert kinds == {"confirm": 1, "confirm-arm": 2, "confirm-training": 4}
    assert written == 6 and states == {"FINISHED"}
