"""The Ray Tune trainable around Training: in its own process, or by a group of workers; one trial after another.

The driver composes the Experiment; a trial gets it whole, as JSON. What happens to a trial is told in its results:

    state "running", "infeasible" (diverged, out of memory), "failed" (a bug, with its traceback) or "misplaced" (its
    node has no data)

so that an error of Ray's is what Ray alone can see: a worker or a node that is gone.
"""

import contextlib
import traceback
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.result import DONE, SHOULD_CHECKPOINT

from trainables import bucket, device_memory, scratch, usage
from trainables.checkpoint import CHECKPOINT
from trainables.data import seal_test_splits
from trainables.errors import MISPLACED, DataMissing, ProcessLost, first_line, out_of_memory
from trainables.experiment import Experiment
from trainables.folded import FoldedTraining, training_of
from trainables.patience import patiently
from trainables.steps import Diverged
from trainables.trainable_group import TrainingGroup, Workers, raise_if_unreadable
from trainables.training import Report, Training

PICKLED = "dict_checkpoint.pkl"

SECONDS_OF_PATIENCE = 3600.0  # while a checkpoint cannot be written


class RetrievalTrainable(tune.Trainable):
    """config: number (of the trial), experiment (JSON; one with kfold is trained on each of its folds), resume_from (a
    checkpoint's folder, here or in S3, or None), scheduled (whether its settings change there), workers (processes that
    train the trial together), and refused: why the point makes no valid experiment (else None)."""

    def setup(self, config: dict[str, Any]) -> None:
        seal_test_splits()
        self._config = config
        self._training: Training | FoldedTraining | TrainingGroup | None = None
        self._workers: Workers | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The processes live on with the next trial: imports, data and thread pools are already there."""
        self._close_training()
        device_memory.release()
        self._config = new_config
        return True

    def step(self) -> dict[str, Any]:
        if self._config["refused"] is not None:
            return self._ended("infeasible", self._config["refused"])
        try:
            training, report = self._next_epoch()
        except DataMissing as error:
            self._close_training()
            return {**self._ended(MISPLACED, str(error)), "node": error.node}
        except Diverged as error:
            return self._ended("infeasible", f"diverged: {error}")
        except ProcessLost:
            self.cleanup()
            raise  # to the driver, which starts the trial again from its checkpoint
        except Exception as error:
            if out_of_memory(error):
                return {**self._ended("infeasible", f"out of memory: {first_line(error)}"), "memory": True}
            told = f"{type(error).__name__}: {first_line(error)}"
            return {**self._ended("failed", told), "traceback": traceback.format_exc()}
        metrics = {name: float(value) for name, value in report.metrics.items()}
        return {
            **metrics,
            "epoch": report.epoch,
            "state": "running",
            "reason": "",
            "reported": sorted(metrics),
            "gpu": training.card if isinstance(training, TrainingGroup) else usage.card(),
            DONE: training.done,
            SHOULD_CHECKPOINT: True,
        }

    def _next_epoch(self) -> tuple[Training | FoldedTraining | TrainingGroup, Report]:
        """DataMissing where it cannot be trained since this node has no data."""
        try:
            training = self._started()
            if isinstance(training, TrainingGroup):  # its workers measure themselves
                return training, training.epoch()
            return training, usage.measured(training.epoch)
        except (Diverged, DataMissing, ProcessLost):
            raise
        except Exception:
            if self._config["workers"] == 1:
                raise_if_unreadable(Experiment.model_validate_json(self._config["experiment"]))
            raise

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        assert self._training is not None, "a checkpoint is asked for after an epoch only"
        self._training.save(Path(checkpoint_dir) / CHECKPOINT)

    def restore(self, checkpoint_path: Any) -> None:
        """Ray's own unpickles a file of this name, which no checkpoint of ours has: somebody else has put it there."""
        saved = checkpoint_path.checkpoint
        planted = f"{saved.path}/{PICKLED}"
        if saved.filesystem.get_file_info(planted).is_file:
            raise PermissionError(f"{planted} is not read: it is a pickle, and none of this project's")
        super().restore(checkpoint_path)

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """The checkpoint, in the sweep's storage: the training waits while that cannot be written to."""
        storage = self._storage
        assert storage is not None
        index = storage.current_checkpoint_index

        def write() -> Any:
            storage.current_checkpoint_index = index  # a failed try is no checkpoint
            return super(RetrievalTrainable, self).save(str(folder))

        with scratch.folder() as folder:  # Ray's own stays where it was when a try fails
            return patiently(write, seconds=SECONDS_OF_PATIENCE)

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Ray moves the trial to another worker: the epochs since this checkpoint are trained again."""
        self._close_training()
        self._training = self._built(Path(checkpoint_dir) / CHECKPOINT)

    def cleanup(self) -> None:
        self._close_training()
        if self._workers is not None:
            self._workers.end()
            self._workers = None

    def _close_training(self) -> None:
        if self._training is not None:
            self._training.close()
            self._training = None

    def _started(self) -> Training | FoldedTraining | TrainingGroup:
        if self._training is None:
            place = self._config["resume_from"]
            with contextlib.nullcontext() if place is None else bucket.local(place) as folder:
                start = None if folder is None else folder / CHECKPOINT
                self._training = self._built(start, self._config["scheduled"])
        return self._training

    def _built(self, start: Path | None, scheduled: bool = False) -> Training | FoldedTraining | TrainingGroup:
        experiment = Experiment.model_validate_json(self._config["experiment"])
        if self._config["workers"] > 1:
            if self._workers is None or self._workers.broken:
                self._workers = Workers(self._config["workers"])
            return TrainingGroup(experiment, self._workers, start, scheduled)
        training = training_of(experiment)
        if start is not None:
            training.load(start, scheduled)
        return training

    def _ended(self, state: str, reason: str) -> dict[str, Any]:
        epoch = 0 if self._training is None else self._training.finished_epochs
        return {"epoch": epoch, "state": state, "reason": reason, "reported": [], DONE: True}
