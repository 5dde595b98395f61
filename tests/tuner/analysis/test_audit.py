"""Audits: which trials, the verdict, and a tiny sweep's stopped trial run to its end."""

import shutil
from pathlib import Path

import pytest

from tests.tuner.analysis.made import METRIC, results, trial
from trainables.composition import compose
from trainables.errors import UserError
from trainables.training import Training
from tuner import space
from tuner.analysis import audit
from tuner.analysis.noise import Noise
from tuner.journal import FILE, Journal
from tuner.results import Results
from tuner.sweep import Sweep

UNKNOWN = Noise(None, "")


def untimed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def stopped(number: int, *values: float) -> object:
    return trial(number, {"lr": 0.1}, values, "stopped")


def test_half_are_the_best_by_their_last_value() -> None:
    values = [0.1, 0.5, 0.2, 0.4, 0.3, 0.25]
    made = results([trial(0, {}, [0.9]), *(stopped(n, 0.8, value) for n, value in enumerate(values, start=1))])  # type: ignore[misc,list-item]
    numbers = [one.number for one in audit.chosen(made, 4)]
    assert len(numbers) == 4 and {2, 4} <= set(numbers)
    assert [one.number for one in audit.chosen(made, 4)] == numbers
    assert {one.number for one in audit.chosen(made, 9)} == {1, 2, 3, 4, 5, 6}
    assert audit.chosen(results([trial(0, {}, [0.9])]), 4) == []


@pytest.mark.parametrize(
    ("final", "noise", "told", "winner"),
    [
        (0.6, None, "none passes", False),
        (0.6, 0.2, "; 1 within the noise of 0.2000", False),
        (0.8, None, "stopped a winner", True),
        (0.8, 0.2, "no more than the noise", True),
    ],
)
def test_the_verdict(tmp_path: Path, final: float, noise: float | None, told: str, winner: bool) -> None:
    made = results([trial(0, {}, [0.2, 0.7]), stopped(1, 0.3)], storage=str(tmp_path))  # type: ignore[list-item]
    assert audit.read(made, UNKNOWN) is None
    journal = Journal(made.sweep.folder / audit.FOLDER)
    journal.open()
    journal.write("point", trial=1, point={"lr": 0.1})
    journal.write("report", trial=1, epoch=1, metrics={METRIC: 0.25})
    journal.write("report", trial=1, epoch=2, metrics={METRIC: final})
    assert "no stopped trial has been run" in audit.read(made, UNKNOWN).verdict  # type: ignore[union-attr]
    journal.write("end", trial=1, state="finished", reason="")
    journal.close()
    found = audit.read(made, Noise(noise, ""))
    assert found is not None and told in found.verdict
    (one,) = found.trials
    assert (one.stopped_at, one.stopped_best, one.epochs, one.best, one.winner) == (1, 0.3, 2, final, winner)
    assert one.drift == pytest.approx(0.05)


def test_nothing_stopped_is_refused(tmp_path: Path) -> None:
    made = results([trial(0, {}, [0.2])], storage=str(tmp_path))
    with pytest.raises(UserError, match="nothing to audit"):
        audit.run(made, 4)
    assert not (made.sweep.folder / audit.FOLDER).exists()


@pytest.mark.slow
def test_a_stopped_trial_runs_to_its_end(sweep: Sweep) -> None:
    """From its checkpoint, interrupted after an epoch: the same numbers as a training that nobody stopped."""
    point = {key: known.edges()[0] for key, known in sweep.distributions.items()}
    experiment = compose([*sweep.fixed(), *space.overrides(point)])
    training = Training(experiment)
    whole = {}
    while not training.done:
        report = training.epoch()
        whole[report.epoch] = untimed(report.metrics)
        if report.epoch == 1:
            training.save(sweep.folder / "launch-1" / "kept" / audit.CHECKPOINT)
    made = trial(1, point, [whole[1][METRIC]], "stopped")
    made.checkpoints = {1: str(sweep.folder / "launch-1" / "kept")}
    known = Results(sweep, (trial(0, point, [0.0] * 4), made))
    before = {path: path.read_bytes() for path in sweep.folder.rglob("*") if path.is_file()}

    def interrupted(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit.run(known, 4, interrupted)
    shutil.rmtree(sweep.folder / "launch-1")  # what it had reached is its own
    epochs = []
    audit.run(known, 4, lambda what, done, total: epochs.append(done))
    record = Journal.read(sweep.folder / audit.FOLDER).trials[1]
    assert epochs == [3, 4] and record.state == "finished"
    assert {epoch: untimed(metrics) for epoch, metrics in record.reports.items()} == {n: whole[n] for n in (2, 3, 4)}
    found = audit.read(known, UNKNOWN)
    assert (
        found is not None
        and found.trials[0].drift == 0
        and found.trials[0].best == max(metrics[METRIC] for metrics in whole.values())
    )
    after = {path for path in sweep.folder.rglob("*") if path.is_file()}
    assert after == {sweep.folder / audit.FOLDER / FILE} and len(before) == 1
