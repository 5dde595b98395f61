"""Which checkpoints stay: the best and the newest of a trial that can go on, the best alone of one that has ended."""

from collections.abc import Callable, Collection

from trainables import bucket
from tuner.journal import BROKEN, Journal, Trial
from tuner.lineage import awaited
from tuner.schema import Objective

CHECKPOINTS = "launch-*/trial-*/checkpoint_*"  # below a sweep's home


def kept(trial: Trial, objective: Objective, copied: Collection[int] = ()) -> set[int]:
    """The epochs whose checkpoints stay. One that failed may be tried again, from its newest.

    copied: those that others have yet to copy.
    """
    stay = set(copied)
    best = trial.best(objective.metric, objective.mode)
    if best is not None:
        stay.add(best[0])
    if trial.checkpoints and (not trial.ended or trial.state in BROKEN):
        stay.add(max(trial.checkpoints))
    return stay


def prune(
    trial: Trial,
    objective: Objective,
    copied: Collection[int] = (),
    remove: Callable[[str], None] = bucket.remove,
) -> None:
    """Removes the trial's other checkpoints."""
    stay = kept(trial, objective, copied)
    for epoch, path in trial.checkpoints.items():
        if epoch not in stay:
            remove(path)


def remove_strays(journal: Journal, objective: Objective) -> set[str]:
    """What a driver that was killed has left: checkpoints that it had not written down, old ones not yet removed.

    Returns those that the journal knows and that are not there.
    """
    trials = journal.trials
    stay = {
        trial.checkpoints[epoch]
        for trial in trials.values()
        for epoch in kept(trial, objective, awaited(trials, trial.number)) & trial.checkpoints.keys()
    }
    there = set(bucket.folders(journal.home, CHECKPOINTS))
    for place in there - stay:
        bucket.remove(place)
    return {place for trial in trials.values() for place in trial.checkpoints.values()} - (there & stay)
