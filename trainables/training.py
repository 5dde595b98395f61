"""One training: `Training(experiment).epoch() -> Report`, and a state that goes to disk and back.

It knows nothing of who listens: the command line prints the reports, the Ray trainable hands them to Tune.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables import building, checkpoint
from trainables.data import (
    LabelledImages,
    RetrievalSplit,
    TrainLoader,
    build_transform,
    eval_batches,
    folds,
    hold_out,
)
from trainables.distributed import World
from trainables.errors import UserError
from trainables.evaluation import retrieval_metrics
from trainables.experiment import Experiment
from trainables.steps import Diverged, Precision, Step

Progress = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True)
class Report:
    """What one epoch says: metrics by name ("train/SupAP", "val/map_at_r", "time/epoch_s", ...)."""

    epoch: int  # counted from 1
    metrics: dict[str, float]


def train_and_validation(
    experiment: Experiment, images: LabelledImages
) -> tuple[LabelledImages, RetrievalSplit | None]:
    """The train split without the classes that are held out, and those as the split "val" (or None)."""
    experience = experiment.experience
    seed = experience.split_random_state
    if experience.holdout is not None:
        kept, held = hold_out(images.labels, images.super_labels, experience.holdout, seed)
    elif experience.kfold is not None and experience.split is not None:
        parts = folds(images.labels, images.super_labels, experience.kfold, seed)
        held = parts[experience.split]
        kept = torch.cat([torch.as_tensor(part) for fold, part in enumerate(parts) if fold != experience.split]).numpy()
        kept.sort()
    else:
        return images, None
    return images.subset(kept), RetrievalSplit("val", images.subset(held), None)


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
        checkpoint.seed_everything(experience.seed)
        self._dataset = building.build_dataset(experiment)
        images, self.validation = train_and_validation(experiment, self._dataset.train())
        self.sampler = building.build_sampler(experiment, images.labels)
        self._loader = TrainLoader(
            images,
            build_transform(experiment.transform.train),
            self.sampler,
            seed=experience.seed,
            workers=experience.num_workers,
            pin_memory=experience.pin_memory and self.device.type == "cuda",
            share=self.world.batch_share,
        )
        self.net = building.build_model(experiment).to(self.device)
        if not experiment.model.freeze_batch_norm:
            self.world.synchronise_batch_norm(self.net)
        self.optimizers, self.schedulers = building.build_optimizers(experiment.optimizer, self.net)
        precision = Precision(self.device, getattr(torch, experience.amp_dtype), self.net.with_autocast)
        self._step = Step(
            self.net,
            [(name, weight, loss.to(self.device)) for name, weight, loss in building.build_losses(experiment)],
            self.optimizers,
            precision.scaler(),
            precision,
            self.world,
        )

    @property
    def done(self) -> bool:
        return self.finished_epochs >= self.experiment.experience.max_iter

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
        for position, optimizer in enumerate(self.optimizers):
            part = self.experiment.optimizer[position].params
            metrics[f"train/lr_{part}"] = float(optimizer.param_groups[0]["lr"])
        for scheduler in self.schedulers:
            scheduler.step()
        self.finished_epochs = epoch
        evaluating = time.perf_counter()
        for split in self._due_splits(epoch):
            scores = self.evaluate(split)
            metrics.update({f"{split.name}/{key}": value for key, value in scores.items()})
            if split is self.validation:
                self._keep_best(epoch, scores)
        metrics["time/evaluation_s"] = time.perf_counter() - evaluating
        metrics["time/epoch_s"] = time.perf_counter() - started
        return Report(epoch, metrics)

    def evaluate(self, split: RetrievalSplit) -> dict[str, float]:
        """The retrieval metrics of the network as it is now on one split."""
        query = self.embed(split.query)
        labels = torch.as_tensor(split.query.labels)
        gallery = None if split.gallery is None else self.embed(split.gallery)
        gallery_labels = None if split.gallery is None else torch.as_tensor(split.gallery.labels)
        return self.world.from_leader(
            lambda: retrieval_metrics(
                query,
                labels,
                gallery,
                gallery_labels,
                ks=self.experiment.dataset.ks,
                full_ranking=self.experiment.experience.with_AP,
            )
        )

    def test_splits(self) -> tuple[RetrievalSplit, ...]:
        """The test classes. A sweep's trials never ask for them."""
        return self._dataset.test()

    def embed(self, images: LabelledImages) -> Tensor:
        """(N, D) float32 embeddings in the order of the images."""
        experience = self.experiment.experience
        own = images.subset(self._whole_batches(len(images)))
        self.net.eval()
        rows = [torch.empty(0, self.net.embed_dim, device=self.device)]
        with torch.inference_mode(), self._step.precision.autocast():
            for batch, _, _ in eval_batches(
                own,
                build_transform(self.experiment.transform.test),
                experience.eval_bs,
                workers=experience.num_workers,
                pin_memory=experience.pin_memory and self.device.type == "cuda",
            ):
                rows.append(self.net(batch.to(self.device, non_blocking=True)).float())
                self._progress("embed", min((len(rows) - 1) * experience.eval_bs, len(own)), len(own))
        embeddings = self.world.gather(torch.cat(rows))
        if not torch.isfinite(embeddings).all():
            raise Diverged(f"an embedding is not finite after epoch {self.finished_epochs}")
        return embeddings.clone()

    def _whole_batches(self, count: int) -> np.ndarray:
        """Positions of this process' share of `count` images: batches stay what they are in one process."""
        size = self.experiment.experience.eval_bs
        part = self.world.share(-(-count // size))
        return np.arange(part.start * size, min(part.stop * size, count))

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on, as tensors, numbers and text."""
        return {
            "experiment": self.experiment.model_dump_json(),
            "epoch": self.finished_epochs,
            "best": self.best,
            "model": self.net.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "scaler": self._step.scaler.state_dict(),
            "sampler": self.sampler.state_dict(),
            "random": checkpoint.random_states(),
        }

    def save(self, path: str | Path) -> None:
        """Writes the state whole or not at all."""
        checkpoint.write(Path(path), self.state())

    def load(self, path: str | Path) -> None:
        """Goes on from a checkpoint of the same experiment; only its length and places may have changed."""
        state = checkpoint.read(Path(path))
        changed = difference(Experiment.model_validate_json(state["experiment"]), self.experiment)
        if changed is not None:
            raise UserError(f"{path} belongs to another experiment: {changed}")
        self.net.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self._step.scaler.load_state_dict(state["scaler"])
        self.sampler.load_state_dict(state["sampler"])
        self.finished_epochs, self.best = state["epoch"], state["best"]
        checkpoint.set_random_states(state["random"])

    def close(self) -> None:
        """Ends the loader's processes."""
        self._loader.close()

    def _train(self, epoch: int) -> dict[str, float]:
        self.world.copy_leader(self.net, *(loss for _, _, loss in self._step.losses))
        self.world.begin_epoch(self.experiment.experience.seed, epoch)
        self.net.train()
        sums: dict[str, Tensor] = {}
        planned = len(self._loader)
        batches = images_seen = 0
        for batches, (images, labels, _) in enumerate(self._loader.epoch(epoch), start=1):
            values = self._step(images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True))
            for name, value in values.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            images_seen += len(labels)
            self._progress(f"epoch {epoch}", batches, planned)
        self.world.mean_statistics(self.net)
        # one synchronisation an epoch, not one a batch
        own = {f"train/{name}": float(total) / max(1, batches) for name, total in sums.items()}
        means = self.world.from_leader(lambda: own)
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise Diverged(f"{name} is {mean} in epoch {epoch}")
        return {**means, "train/images": float(self.world.total(images_seen))}

    def _due_splits(self, epoch: int) -> Iterator[RetrievalSplit]:
        experience = self.experiment.experience
        last = epoch == experience.max_iter
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


FREE = (
    "max_iter",
    "log_dir",
    "experiment_name",
    "resume",
    "maybe_resume",
    "save_model",
    "num_workers",
    "pin_memory",
)


def difference(before: Experiment, after: Experiment) -> str | None:
    """The first setting in which two experiments train differently, as one phrase; None where they are equal."""
    old, new = before.model_dump(), after.model_dump()
    for key in FREE:
        old["experience"].pop(key), new["experience"].pop(key)
    return _first_difference(old, new, "")


def _first_difference(old: Any, new: Any, path: str) -> str | None:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        pairs = [(key, old[key], new[key]) for key in old]
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        pairs = [(index, *values) for index, values in enumerate(zip(old, new, strict=True))]
    else:
        return None if old == new else f"{path} was {old!r}, now {new!r}"
    found = (_first_difference(left, right, f"{path}.{key}".lstrip(".")) for key, left, right in pairs)
    return next((phrase for phrase in found if phrase is not None), None)
