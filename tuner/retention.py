"""Which checkpoints stay: the best and the newest of a trial that can go on, the best alone of one that has ended."""

import shutil
from collections.abc import Collection
from pathlib import Path

from tuner.journal import BROKEN, Journal, Trial
from tuner.schema import Objective


def kept(trial: Trial, objective: Objective, awaited: Collection[int] = ()) -> set[int]:
    """The epochs whose checkpoints stay: `awaited` ones too. One that failed may be tried again, from its newest."""
    stay = set(awaited)
    best = trial.best(objective.metric, objective.mode)
    if best is not None:
        stay.add(best[0])
    if trial.checkpoints and (not trial.ended or trial.state in BROKEN):
        stay.add(max(trial.checkpoints))
    return stay


def prune(trial: Trial, objective: Objective, awaited: Collection[int] = ()) -> None:
    """Removes the trial's other checkpoints from the disk."""
    stay = kept(trial, objective, awaited)
    for epoch, path in trial.checkpoints.items():
        if epoch not in stay:
            shutil.rmtree(path, ignore_errors=True)


def remove_strays(journal: Journal) -> None:
    """Checkpoints of earlier launches that the journal does not know: a driver was killed before it wrote them down."""
    known = {Path(path) for trial in journal.trials.values() for path in trial.checkpoints.values()}
    for folder in journal.folder.glob("launch-*/trial-*/checkpoint_*"):
        if folder not in known:
            shutil.rmtree(folder, ignore_errors=True)
