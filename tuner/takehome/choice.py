"""Which of a sweep's checkpoints is taken home: the winner's, confirmed where it has been; nothing is chosen by luck.

Of an arm of a confirmation the seed whose test value is the median, of a trial's folds the one whose value is: the best
of several would flatter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables import bucket
from trainables.checkpoint import CHECKPOINT
from trainables.errors import UserError
from trainables.folded import fold_file
from tuner.confirmation.ledger import Arm, Confirmation, Ledger, Repeat
from tuner.journal import Trial
from tuner.results import Results


@dataclass(frozen=True)
class Choice:
    """One checkpoint of a sweep and where it stands. value: of `metric`, on the test split where it is confirmed."""

    results: Results
    place: str  # of the checkpoint's folder
    file: str  # in it
    trial: Trial
    metric: str
    value: float
    why: str
    confirmation: Confirmation | None = None
    repeat: Repeat | None = None

    @property
    def checkpoint(self) -> str:
        return bucket.below(self.place, self.file)

    @property
    def there(self) -> bool:
        return bucket.exists(self.place) and (bucket.is_bucket(self.place) or Path(self.checkpoint).is_file())

    @property
    def confirmed(self) -> bool:
        return self.repeat is not None


def chosen(results: Results, ledger: Ledger, number: int | None, file: str) -> Choice:
    """The winner, or the trial of this number. UserError where it has no value, or its checkpoint is gone.

    file: how the user named the sweep.
    """
    confirmation = next((one for one in reversed(ledger.confirmations) if one.complete), None)
    arm = None if confirmation is None else _arm(confirmation, number)
    if confirmation is not None and arm is not None:
        choice = _confirmed(results, confirmation, arm)
    else:
        choice = _best(results, _trial(results, number), file)
    if not choice.there:
        raise UserError(
            f"the checkpoint of trial {choice.trial.id} is gone: there is no {bucket.shown(choice.checkpoint)}"
        )
    return choice


def _arm(confirmation: Confirmation, number: int | None) -> Arm | None:
    """The winner, but the defaults where they beat it on every test split; or the arm of this trial."""
    tested = [arm for arm in confirmation.arms if any(one.test is not None for one in confirmation.of_arm(arm))]
    if number is not None:
        return next((arm for arm in tested if arm.trial == number), None)
    defaults, winner = confirmation.arms[:2]
    against = [verdict for verdict in confirmation.verdicts or () if verdict.arm == winner.name]
    wanted = defaults if against and all(verdict.high < 0 for verdict in against) else winner
    return wanted if wanted in tested else None


def _confirmed(results: Results, confirmation: Confirmation, arm: Arm) -> Choice:
    tested = [repeat for repeat in confirmation.of_arm(arm) if repeat.test is not None]
    metric = _test_metric(results, confirmation, tested[0])
    repeat = _median([(one.test[metric], one.seed, one) for one in tested if one.test is not None])[-1]
    assert repeat.test is not None
    told = f"confirmed: {arm.name} (trial {arm.trial:04d}), trained on the whole train split for {arm.epochs} epochs; "
    told += f"of {len(tested)} seeds {repeat.seed}, whose {metric} {repeat.test[metric]:.4f} is the median"
    if arm.role == "defaults":
        told += "; the presets beat the winner on the test split"
    best = results.best
    if arm.role == "winner" and best is not None and best.number != arm.trial:
        told += f"; trial {best.id} has a better validation value since, and is not confirmed"
    place = repeat.checkpoints.get(arm.epochs, "")
    trial = next(trial for trial in results.trials if trial.number == arm.trial)
    return Choice(results, place, CHECKPOINT, trial, metric, repeat.test[metric], told, confirmation, repeat)


def _test_metric(results: Results, confirmation: Confirmation, repeat: Repeat) -> str:
    """What the verdict is about; without one the objective's metric, or any, of the first test split."""
    for verdict in confirmation.verdicts or ():
        return f"{verdict.split}/{verdict.metric}"
    assert repeat.test
    wanted = results.sweep.objective.metric.removeprefix("val/")
    return next((key for key in repeat.test if key.endswith(f"/{wanted}")), next(iter(repeat.test)))


def _best(results: Results, trial: Trial, file: str) -> Choice:
    objective = results.sweep.objective
    best = trial.best(objective.metric, objective.mode)
    assert best is not None, "looked at before"
    epoch, value = best
    # an epoch of which the journal has no checkpoint: a file that is not there
    place = trial.checkpoints.get(epoch, str(results.sweep.folder / f"trial-{trial.id}-epoch-{epoch}"))
    checkpoint, fold = CHECKPOINT, ""
    if results.sweep.validation.protocol == "kfold":
        number = _median_fold(trial, epoch, objective.metric)
        checkpoint, fold = str(fold_file(Path(checkpoint), number)), f", fold {number}, the median one of its folds"
    why = (
        f"not confirmed: trial {trial.id} after epoch {epoch}{fold}: {objective.metric} {value:.4f}; "
        f"the best value of {len(results.trials)} trials flatters: `roadmap-tune confirm {file}` tests it"
    )
    return Choice(results, place, checkpoint, trial, objective.metric, value, why)


def _trial(results: Results, number: int | None) -> Trial:
    name = results.sweep.name
    if number is None:
        if results.best is None:
            raise UserError(f"no trial of sweep {name!r} has a value: there is nothing to export")
        return results.best
    known = {trial.number: trial for trial in results.trials}
    if not known:
        raise UserError(f"sweep {name!r} has no trial yet: there is nothing to export")
    if number not in known:
        near = min(known, key=lambda other: (abs(other - number), other))
        there = f"did you mean {near}? It has {min(known)} to {max(known)}"
        raise UserError(f"sweep {name!r} has no trial {number}, {there}")
    if not results.best_metrics(known[number]):
        raise UserError(f"trial {known[number].id} ({known[number].state}) has no value: there is nothing to export")
    return known[number]


def _median_fold(trial: Trial, epoch: int, metric: str) -> int:
    report, ending = trial.reports[epoch], metric.removeprefix("val/")
    folds = [
        (value, int(key.split("/")[1]))
        for key, value in report.items()
        if key.startswith("folds/") and key.endswith(f"/{ending}")
    ]
    return _median(folds)[-1] if folds else 0


def _median(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Of (value, number that no two share, ...) the row with the median value, of two the lower."""
    return sorted(rows, key=lambda row: row[:2])[(len(rows) - 1) // 2]
