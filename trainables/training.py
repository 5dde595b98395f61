"""One training: `Training(experiment).epoch() -> Report`, and a state that goes to disk and back.

It knows nothing of who listens: the command line prints the reports, the Ray trainable hands them to Tune.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables import allocator, building, checkpoint, checks
from trainables.data import (
    LabelledImages,
    RetrievalSplit,
    TrainLoader,
    build_transform,
)
from trainables.difference import difference
from trainables.distributed import World
from trainables.errors import UserError, unknown
from trainables.evaluator import Evaluator, Progress
from trainables.experiment import Experiment
from trainables.splitting import train_and_validation
from trainables.steps import Diverged


@dataclass(frozen=True)
class Report:
    """What one epoch says: metrics by name ("train/SupAP", "val/map_at_r", "time/epoch_s", ...)."""

    epoch: int  # counted from 1
    metrics: dict[str, float]


class Training:
    """A training in progress. Equal experiments on one machine give equal reports, resumed or not.

    world: the processes that train it together, each with a Training of its own; all call epoch, evaluate and embed
    alike. Their checkpoint is the same as that of one process.
    """

    def __init__(
        self,
        experiment: Experiment,
        device: str | torch.device | None = None,
        progress: Progress | None = None,
        world: World | None = None,
    ) -> None:
        self.experiment = experiment
        self.world = world or World()
        self.device = torch.device(device or self.world.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.finished_epochs = 0
        self.best: dict[str, float] | None = None  # {"epoch": ..., principal metric: ...} of the validation split
        self._progress: Progress = progress or (lambda what, done, total: None)
        experience = experiment.experience
        if experience.num_threads is not None:
            torch.set_num_threads(experience.num_threads)
        allocator.keep_freed_memory()
        checkpoint.seed_everything(experience.seed)
        self._dataset = building.build_dataset(experiment)
        images, self.validation = train_and_validation(experiment, self._dataset.train())
        if experience.test_eval_freq > 0:
            self.test_splits()  # what they lack is said before the first epoch, not after it
        self.sampler = building.build_sampler(experiment, images.labels, images.super_labels)
        self._loader = TrainLoader(
            images,
            build_transform(experiment.transform.train),
            self.sampler,
            seed=experience.seed,
            workers=self._workers,
            pin_memory=experience.pin_memory and self.device.type == "cuda",
            for_gpu=self.device.type == "cuda",
            share=self.world.batch_share,
            evaluated=build_transform(experiment.transform.test),
        )
        self.net = building.build_model(experiment).to(self.device)
        if not experiment.model.freeze_batch_norm:
            self.world.synchronise_batch_norm(self.net)
        if experience.channels_last:
            self.net.to(memory_format=torch.channels_last)
        if experience.compile:
            self.net.backbone.compile()  # how it is called, not what it is: names in the checkpoint stay
        parameters = sum(parameter.numel() for parameter in self.net.parameters())
        self._size = {"model/dim": float(self.net.embed_dim), "model/parameters": float(parameters)}
        self._step = building.build_step(experiment, self.net, self.world, images)
        # one of its own: its numbers go to the device, the loader's processes have no part in that
        of_test = build_transform(experiment.transform.test).normalised
        forward = replace(self._step.forward, normalise=of_test)
        self._evaluator = Evaluator(experiment, self.net, forward, self.world, self._loader.look, self._progress)
        checks.check_warm_up(experiment, self.net)
        checks.check_schedules(experiment, self._step.optimization.parts, len(self._loader))

    @property
    def _workers(self) -> int:
        """Loader processes: no more than this training has cores."""
        experience = self.experiment.experience
        return min(experience.num_workers, experience.num_threads or experience.num_workers)

    @property
    def done(self) -> bool:
        return self.finished_epochs >= self.experiment.experience.max_iter

    @property
    def train(self) -> RetrievalSplit:
        """The images that are trained on, as a split to evaluate."""
        return RetrievalSplit("train", self._loader.images, None)

    @property
    def splits(self) -> dict[str, int]:
        """Images in each split that the training itself looks at."""
        held = {} if self.validation is None else {"val": len(self.validation.query)}
        return {"train": len(self._loader.images), **held}

    def epoch(self) -> Report:
        """Trains one epoch, evaluates what is due. Raises Diverged where a loss or an embedding is not finite."""
        assert not self.done, "every epoch of this training has been run"
        epoch = self.finished_epochs + 1
        started = time.perf_counter()
        metrics = self._train(epoch)
        metrics["time/train_s"] = time.perf_counter() - started
        metrics |= {f"train/lr_{part}": rate for part, rate in self._step.optimization.rates().items()}
        self._step.optimization.after_epoch()
        self.finished_epochs = epoch
        evaluating = time.perf_counter()
        for split in self._due_splits(epoch):
            scores = self.evaluate(split)
            metrics.update({f"{split.name}/{key}": value for key, value in scores.items()})
            if split is self.validation:
                metrics["time/embed_ms"] = self._evaluator.embed_ms
                self._keep_best(epoch, scores)
                self._step.optimization.after_validation(scores[self.experiment.experience.principal_metric])
        metrics |= self._size
        metrics["time/evaluation_s"] = time.perf_counter() - evaluating
        metrics["time/epoch_s"] = time.perf_counter() - started
        return Report(epoch, metrics)

    def evaluate(self, split: RetrievalSplit) -> dict[str, float]:
        """The retrieval metrics of the network as it is now on one split."""
        return self._evaluator.evaluate(split, self.finished_epochs)

    def by_query(self, split: RetrievalSplit) -> dict[str, np.ndarray]:
        """The same metrics by query, (N,) each, NaN where a query has no positive."""
        return self._evaluator.by_query(split, self.finished_epochs)

    def test_splits(self) -> tuple[RetrievalSplit, ...]:
        """The test classes, of experience.eval_split alone where it is set. A sweep's trials never ask for them."""
        splits = self._dataset.test()
        wanted = self.experiment.experience.eval_split
        if wanted is None:
            return splits
        if wanted not in (split.name for split in splits):
            raise unknown("experience.eval_split", wanted, [split.name for split in splits])
        return tuple(split for split in splits if split.name == wanted)

    def embed(self, images: LabelledImages) -> Tensor:
        """(N, D) float32 embeddings in the order of the images."""
        return self._evaluator.embed(images, self.finished_epochs)

    def move(self, device: str | torch.device) -> None:
        """All that the training keeps on its device, to another: to make room there between two epochs, and back."""
        self._step.move(device)

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on, as tensors, numbers and text."""
        memory = self._step.objective.memory
        return {
            "experiment": self.experiment.model_dump_json(),
            "epoch": self.finished_epochs,
            "best": self.best,
            "model": self.net.state_dict(),
            "losses": [term.loss.state_dict() for term in self._step.objective.terms],
            "memory": None if memory is None else memory.state_dict(),
            "optimization": self._step.optimization.state_dict(),
            "sampler": self.sampler.state_dict(),
            "random": checkpoint.random_states(),
        }

    def save(self, path: str | Path) -> None:
        """Writes the state whole or not at all."""
        checkpoint.write(Path(path), self.state())

    def load(self, path: str | Path, scheduled: bool = False) -> None:
        """Goes on from a checkpoint of the same experiment.

        Only its length and places may have changed, with experience.force_lr its learning rates, and at a `scheduled`
        change also weight decay, the losses' settings and weights.
        """
        state = checkpoint.read(Path(path))
        changed = difference(checkpoint.experiment_of(state, Path(path)), self.experiment, scheduled)
        if changed is not None:
            raise UserError(f"{path} belongs to another experiment: {changed}")
        objective = self._step.objective
        if objective.memory is not None:
            objective.memory.load_state_dict(state["memory"])
        self.net.load_state_dict(state["model"])
        for term, saved in zip(objective.terms, state["losses"], strict=True):
            term.loss.load_state_dict(saved)
        self._step.optimization.load_state_dict(state["optimization"], self.experiment.experience.force_lr, scheduled)
        self.sampler.load_state_dict(state["sampler"])
        self.finished_epochs, self.best = state["epoch"], state["best"]
        checkpoint.set_random_states(state["random"])

    def load_network(self, path: str | Path) -> None:
        """The weights alone, to evaluate: the rest of the experiment may be another."""
        state = checkpoint.read(Path(path))
        try:
            self.net.load_state_dict(state["model"])
        except RuntimeError as error:
            raise UserError(f"{path} holds another network: {' '.join(str(error).split())}") from None

    def close(self) -> None:
        """Ends the loader's processes."""
        self._loader.close()

    def _train(self, epoch: int) -> dict[str, float]:
        experience = self.experiment.experience
        warm = epoch <= experience.warm_up
        self._step.optimization.train_only(getattr(self.net, experience.warm_up_key).parameters() if warm else None)
        self.world.copy_leader(self.net, *(term.loss for term in self._step.objective.terms))
        self.world.begin_epoch(experience.seed, epoch)
        self.net.train()
        with_memory = epoch > self.experiment.memory.activate_after
        sums: dict[str, Tensor] = {}
        counts: Counter[str] = Counter()  # not every batch gives every number
        planned = len(self._loader)
        images_seen = 0
        for batch, (images, labels, positions) in enumerate(self._loader.epoch(epoch), start=1):
            values = self._step(images, labels, positions, with_memory=with_memory)
            for name, value in values.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            counts.update(values.keys())
            images_seen += len(labels)
            self._progress(f"epoch {epoch}", batch, planned)
        self.world.mean_statistics(self.net)
        # one synchronisation an epoch, not one a batch
        own = {f"train/{name}": float(total) / counts[name] for name, total in sums.items()}
        means = self.world.from_leader(lambda: own)
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise Diverged(f"{name} is {mean} in epoch {epoch}")
        return {**means, "train/images": float(self.world.total(images_seen))}

    def _due_splits(self, epoch: int) -> Iterator[RetrievalSplit]:
        experience = self.experiment.experience
        last = epoch == experience.max_iter
        if _due(epoch, experience.train_eval_freq, last):
            yield self.train
        if self.validation is not None and _due(epoch, experience.val_eval_freq, last):
            yield self.validation
        if _due(epoch, experience.test_eval_freq, last):
            yield from self.test_splits()

    def _keep_best(self, epoch: int, scores: dict[str, float]) -> None:
        metric = self.experiment.experience.principal_metric
        if self.best is None or scores[metric] > self.best[metric]:
            self.best = {"epoch": float(epoch), metric: scores[metric]}


def _due(epoch: int, every: int, last: bool) -> bool:
    return every > 0 and (last or epoch % every == 0)
