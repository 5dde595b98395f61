"""Which checkpoints stay: the best and the newest of a trial that can go on, the best alone of one that has ended."""

from collections.abc import Callable, Collection

from trainables import bucket
from tuner.journal import BROKEN, Journal, Trial
from tuner.schema import Objective

CHECKPOINTS = "launch-*/trial-*/checkpoint_*"  # below a sweep's home


def kept(trial: Trial, objective: Objective, awaited: Collection[int] = ()) -> set[int]:
    """The epochs whose checkpoints stay: `awaited` ones too. One that failed may be tried again, from its newest."""
    stay = set(awaited)
    best = trial.best(objective.metric, objective.mode)
    if best is not None:
        stay.add(best[0])
    if trial.checkpoints and (not trial.ended or trial.state in BROKEN):
        stay.add(max(trial.checkpoints))
    return stay


def prune(
    trial: Trial,
    objective: Objective,
    awaited: Collection[int] = (),
    remove: Callable[[str], None] = bucket.remove,
) -> None:
    """Removes the trial's other checkpoints."""
    stay = kept(trial, objective, awaited)
    for epoch, path in trial.checkpoints.items():
        if epoch not in stay:
            remove(path)


def remove_strays(journal: Journal) -> set[str]:
    """Checkpoints of earlier launches that the journal does not know: a driver was killed before it wrote them down.

    Returns those that the journal knows and that are not there.
    """
    known = {path for trial in journal.trials.values() for path in trial.checkpoints.values()}
    there = {str(place) for place in bucket.folders(journal.home, CHECKPOINTS)}
    for place in there - known:
        bucket.remove(place)
    return known - there
