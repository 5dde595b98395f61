"""A sweep that was never run: shipped learning curves under ASHA, one infeasible trial, a confirmation."""

from dataclasses import asdict
from pathlib import Path

from tuner.confirmation.ledger import Arm, Ledger
from tuner.confirmation.verdict import Verdict
from tuner.journal import Journal, Trial
from tuner.simulation.commands import default_file
from tuner.simulation.curves import Curves
from tuner.simulation.simulator import simulate
from tuner.sweep import Sweep, load_sweep

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "search_spaces" / "emoji.yaml"
METRIC = "val/map_at_r"
TRIALS = 24


def made_sweep(folder: Path, *settings: str) -> Sweep:
    """emoji's sweep with its journal in `folder`/runs and a store that nobody made."""
    places = [f"storage={folder}/runs", f"tracking=sqlite:///{folder}/mlflow.db"]
    sweep = load_sweep(SHIPPED, [*places, f"search={{sampler: random, trials: {TRIALS}}}", *settings])
    sweep = sweep.model_copy(update={"train": (*sweep.train, "experience.max_iter=16")})  # as long as the curves
    curves = Curves.read(default_file(str(SHIPPED)), sweep)
    trials = simulate(sweep, curves, trials=TRIALS, seed=0).trials
    journal = Journal(sweep.folder)
    journal.open()
    journal.write("sweep", launch="made", trials=len(trials), epochs=curves.epochs, sweep=sweep.model_dump(mode="json"))
    journal.write("launch", host="elsewhere", pid=1)
    for trial in trials:
        _write(journal, trial)
    journal.write("left", state="finished", reason="")
    journal.close()
    return sweep


def _write(journal: Journal, trial: Trial) -> None:
    number, infeasible = trial.number, trial.number == TRIALS - 1
    journal.write("point", trial=number, point=trial.point)
    journal.write("start", trial=number)
    for epoch, metrics in ({} if infeasible else trial.reports).items():
        journal.write("report", trial=number, epoch=epoch, metrics={**metrics, "time/epoch_s": 2.0})
    if infeasible:
        journal.write("end", trial=number, state="infeasible", reason="diverged: </script> is not finite")
    else:
        journal.write("end", trial=number, state=trial.state, reason=trial.reason)


def confirm(sweep: Sweep) -> Verdict:
    """The ledger of a confirmation in which the winner is better by 0.03 from both of two seeds."""
    trials = Journal.read(sweep.folder).trials
    arms = [Arm("defaults", 0, trials[0].point, 3), Arm("winner", 1, trials[1].point, 4)]
    verdict = Verdict("the winner", "the defaults", "test", "map_at_r", 0.03, 0.02, 0.04, 2, 100)
    ledger = Ledger(sweep.folder)
    ledger.open()
    ledger.begin("made", arms, [7, 8])
    ledger.write("opened")
    for seed in (7, 8):
        for arm, value in zip(arms, (0.20, 0.23), strict=True):
            ledger.write("test", repeat=f"{arm.trial:04d}-seed{seed}", metrics={"test/map_at_r": value}, values="")
    ledger.write("verdict", verdicts=[asdict(verdict)])
    ledger.close()
    return verdict
