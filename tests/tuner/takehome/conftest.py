"""Sweeps that were never run, with checkpoints that are there."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tests.tuner.confirmation.test_confirm import DEFAULTS, OTHER
from trainables import Training, compose
from trainables.checkpoint import CHECKPOINT
from tuner import space
from tuner.confirmation.ledger import Arm, Ledger
from tuner.confirmation.verdict import Verdict
from tuner.journal import Journal
from tuner.sweep import Sweep

METRIC = "val/map_at_r"


def folder_of(number: int, epoch: int) -> str:
    return f"launch-1/trial-{number:04d}/checkpoint_{epoch:06d}"


def write_sweep(sweep: Sweep, values: Mapping[int, list[float]], more: Mapping[str, float] | None = None) -> None:
    """The journal of a sweep and an empty file for each best checkpoint. values: trial -> objective by epoch."""
    journal = Journal(sweep.folder)
    journal.open()
    header = {"launch": "swept", "trials": len(values), "epochs": 4, "sweep": sweep.model_dump(mode="json")}
    journal.write("sweep", **header)
    for number, scores in values.items():
        journal.write("point", trial=number, point=OTHER if number else DEFAULTS)
        for epoch, score in enumerate(scores, start=1):
            journal.write("report", trial=number, epoch=epoch, metrics={METRIC: score, **(more or {})})
            journal.write("checkpoint", trial=number, epoch=epoch, path=folder_of(number, epoch))
        if scores:
            file = sweep.folder / folder_of(number, int(np.argmax(scores)) + 1) / CHECKPOINT
            file.parent.mkdir(parents=True)
            file.touch()
        journal.write("end", trial=number, state="finished" if scores else "infeasible", reason="")
    journal.close()


def train(sweep: Sweep, number: int, epoch: int) -> Path:
    """A real checkpoint in the place of an empty one: of no epoch, its weights are those of its seed."""
    overrides = [*sweep.fixed(), *space.overrides(OTHER if number else DEFAULTS)]
    training = Training(compose(overrides))
    path = sweep.folder / folder_of(number, epoch) / CHECKPOINT
    training.save(path)
    training.close()
    return path


def confirm(sweep: Sweep, low: float = 0.02, values: Mapping[int, float] | None = None) -> Ledger:
    """The ledger of a confirmation of trial 1 whose seeds reached `values`, the defaults 0.2 each.

    low: of the interval of the difference, which is 0.02 wide.
    """
    reached = dict(values or {334: 0.23, 335: 0.26, 336: 0.21})
    arms = [Arm("defaults", 0, DEFAULTS, 2), Arm("winner", 1, OTHER, 3)]
    ledger = Ledger(sweep.folder)
    ledger.open()
    ledger.begin("made", arms, list(reached))
    for seed in reached:
        for arm in arms:
            key = f"{arm.trial:04d}-seed{seed}"
            below = f"confirm-1-launch-1/{key}/checkpoint_000000"
            (sweep.folder / below).mkdir(parents=True)
            (sweep.folder / below / CHECKPOINT).touch()
            ledger.write("checkpoint", repeat=key, epoch=arm.epochs, path=below)
            ledger.write("end", repeat=key, state="finished", reason="")
    ledger.write("opened")
    for seed, value in reached.items():
        for arm in arms:
            key = f"{arm.trial:04d}-seed{seed}"
            by_query = np.full(20, 0.2 if arm.trial == 0 else value)
            np.savez(sweep.folder / f"{key}.npz", **{"test/map_at_r": by_query})
            ledger.write("test", repeat=key, metrics={"test/map_at_r": float(by_query[0])}, values=f"{key}.npz")
    verdict = Verdict("the winner", "the defaults", "test", "map_at_r", low + 0.01, low, low + 0.02, len(reached), 20)
    ledger.write("verdict", verdicts=[asdict(verdict)])
    ledger.close()
    return Ledger.read(sweep.folder)
