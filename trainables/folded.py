"""k trainings of one point, each validated on a fold of its own, epoch by epoch behind the face of one Training."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev

import torch

from trainables import checkpoint
from trainables.distributed import World
from trainables.errors import UserError
from trainables.experiment import Experiment
from trainables.splitting import fold_of
from trainables.steps import Diverged
from trainables.training import Report, Training


def fold_file(path: Path, fold: int) -> Path:
    """Where the checkpoint of one fold lies, beside the others: training.ckpt -> training.fold0.ckpt."""
    return path.with_name(f"{path.stem}.fold{fold}{path.suffix}")


def training_of(experiment: Experiment, world: World | None = None) -> "Training | FoldedTraining":
    """What a trial trains: the experiment, on each of its folds where it has some."""
    kind = Training if experiment.experience.kfold is None else FoldedTraining
    return kind(experiment, world=world)


class FoldedTraining:
    """Every fold of `experience.kfold`; `experience.split` does not matter here.

    The folds take turns, an epoch each. A fold has its own random states, so that each gives the numbers of a Training
    of that fold alone. Between its turns it waits in the memory of the CPU: the device holds one training at a time.
    Checkpoints are k files, each that of a Training.
    """

    def __init__(
        self, experiment: Experiment, device: str | torch.device | None = None, world: World | None = None
    ) -> None:
        self.experiment = experiment
        self._folds: list[Training] = []
        self._random: list[dict[str, object]] = []
        for fold in range(experiment.experience.kfold or 0):
            training = Training(fold_of(experiment, fold), device, world=world)
            self._folds.append(training)
            self._random.append(checkpoint.random_states())
            _put_aside(training)

    @property
    def finished_epochs(self) -> int:
        return self._folds[-1].finished_epochs

    @property
    def done(self) -> bool:
        return self._folds[-1].done

    def epoch(self) -> Report:
        """The next epoch of every fold, reported as `merged` does. Raises Diverged where one of them does."""
        reports = []
        for fold in range(len(self._folds)):
            with self._as_if_alone(fold) as training:
                training.move(training.device)
                try:
                    reports.append(training.epoch())
                except Diverged as error:
                    raise Diverged(f"fold {fold}: {error}") from error
                _put_aside(training)
        return merged(reports, self.experiment.experience.principal_metric)

    def save(self, path: str | Path) -> None:
        """k files beside where one would be."""
        for fold in range(len(self._folds)):
            with self._as_if_alone(fold) as training:
                training.save(fold_file(Path(path), fold))

    def load(self, path: str | Path, scheduled: bool = False) -> None:
        """Goes on from what `save` wrote there, as Training.load; UserError where it is not whole."""
        for fold in range(len(self._folds)):
            with self._as_if_alone(fold) as training:
                training.load(fold_file(Path(path), fold), scheduled)
        epochs = [training.finished_epochs for training in self._folds]
        if len(set(epochs)) > 1:
            raise UserError(f"{path}: its folds are of different epochs: {epochs}")

    def close(self) -> None:
        """Ends the loaders' processes."""
        for training in self._folds:
            training.close()

    @contextmanager
    def _as_if_alone(self, fold: int) -> Iterator[Training]:
        checkpoint.set_random_states(self._random[fold])
        yield self._folds[fold]
        self._random[fold] = checkpoint.random_states()


def _put_aside(training: Training) -> None:
    """The loaders' processes end, of which there would be k times as many; what is on the device makes room."""
    training.close()
    training.move("cpu")


def merged(reports: Sequence[Report], objective: str) -> Report:
    """One report of all folds: every metric's mean over the folds that have it; seconds are summed.

    folds/0/map_at_r, folds/0/train/SupAP, ...: what each fold has of validation (without "val/") and training;
    folds/spread: the sample standard deviation of the objective over the folds.
    """
    metrics: dict[str, float] = {}
    for name in dict.fromkeys(name for report in reports for name in report.metrics):
        values = [report.metrics[name] for report in reports if name in report.metrics]
        seconds = name.startswith("time/") and name.endswith("_s")
        metrics[name] = math.fsum(values) if seconds else fmean(values)
    for fold, report in enumerate(reports):
        own = {name: value for name, value in report.metrics.items() if name.startswith(("val/", "train/"))}
        metrics |= {f"folds/{fold}/{name.removeprefix('val/')}": value for name, value in own.items()}
    judged = [report.metrics[f"val/{objective}"] for report in reports if f"val/{objective}" in report.metrics]
    if judged:
        metrics["folds/spread"] = stdev(judged)
    return Report(reports[0].epoch, metrics)
