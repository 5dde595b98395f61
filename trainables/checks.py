"""What an Experiment is refused for, without data, weights or a device."""

import math
from collections.abc import Sequence

import numpy as np
from torch import nn

from trainables import data
from trainables.building import (
    build_losses,
    build_memory,
    build_optimizers,
    cached_side,
    model_settings,
    named_dataset,
    sampler_of,
)
from trainables.errors import UserError, unknown
from trainables.evaluation import metric_names
from trainables.experiment import Experiment
from trainables.losses import metric_learning
from trainables.objective import Term
from trainables.optimization import TrainedPart, check_length
from trainables.registry import DATASETS, LOSSES

LANDMARK_METRICS = ("mapE", "mapM", "mapH")


class _Dummy(nn.Module):
    """Has every part a model has, with one weight each: what an optimizer's settings are checked on."""

    def __init__(self, headless: bool) -> None:
        super().__init__()
        self.backbone = nn.Linear(1, 1)
        self.fc = nn.Identity() if headless else nn.Linear(1, 1)


def check(experiment: Experiment) -> None:
    """Refuse what a constructor would refuse."""
    losses = build_losses(experiment)
    check_evaluation(experiment)
    _check_transforms(experiment)
    model_settings(experiment)
    _check_memory(experiment, losses)
    _check_losses(experiment, losses)
    _check_optimization(experiment, losses)
    plenty = np.repeat(np.arange(1024), 64)
    sampler_of(experiment.dataset.sampler, plenty, plenty % 64, seed=0)


def _check_losses(experiment: Experiment, losses: Sequence[Term]) -> None:
    """Whether each can be computed, and compared with the memory, on a batch of a few numbers."""
    for term, (_, _, loss) in zip(experiment.loss, losses, strict=True):
        if term.name not in LOSSES:
            metric_learning.probe(term.name, loss, term.kwargs, references=experiment.memory.name is not None)


def _check_transforms(experiment: Experiment) -> None:
    kind = DATASETS[experiment.dataset.name]
    files = issubclass(kind, data.FileDataset | data.Sfm120k)
    if experiment.dataset.cache is not None and not issubclass(kind, data.FileDataset):
        cacheable = ", ".join(name for name, known in DATASETS.items() if issubclass(known, data.FileDataset))
        raise UserError(f"dataset.cache=memmap: {experiment.dataset.name} cannot be cached, {cacheable} can")
    for part, steps in (("train", experiment.transform.train), ("test", experiment.transform.test)):
        if not data.build_transform(steps).equal_sizes and files:
            raise UserError(f"transform.{part} leaves the sizes of {experiment.dataset.name} unequal: {data.UNEQUAL}")
    if experiment.dataset.cache is not None:
        cached_side(experiment)


def check_evaluation(experiment: Experiment) -> None:
    """Whether what the experience evaluates is what the data set and the validation split have."""
    experience, name = experiment.experience, experiment.dataset.name
    dataset = named_dataset(experiment)
    tested_on = dataset.test_sets if isinstance(dataset, data.Sfm120k) else None
    if tested_on is None and experience.landmarks:
        raise UserError(f"experience.landmarks=true: dataset={name} has no landmarks to test on, dataset=sfm120k has")
    if tested_on is not None and not experience.landmarks:
        raise UserError(
            f"dataset={name} is tested on landmarks: set experience=landmarks (or experience.landmarks=true)"
        )
    if tested_on is not None and experience.eval_split not in (None, *tested_on):
        raise unknown("test split", experience.eval_split, tested_on, where="experience.eval_split")
    measured = metric_names(experiment.dataset.ks, experience.with_AP)
    if not experience.validates:
        measured += LANDMARK_METRICS  # there is no best epoch to choose: what a test split has is fine too
    if experience.principal_metric not in measured:
        kind = "metric of the validation split" if experience.validates else "metric"
        raise unknown(kind, experience.principal_metric, measured, where="experience.principal_metric")


def _check_memory(experiment: Experiment, losses: Sequence[Term]) -> None:
    memory = experiment.memory
    if memory.name is None:
        if memory.kwargs or memory.weight != 1 or memory.activate_after != -1:
            raise UserError("memory has settings but no name: memory.name=XBM, or a preset, turns it on")
        return
    build_memory(experiment, images=1, embed_dim=1, device="meta")
    for name, _, loss in losses:
        if any(True for _ in loss.parameters()):
            raise UserError(f"{name} compares with its own proxies, never with a memory: memory=default turns it off")


def _check_optimization(experiment: Experiment, losses: Sequence[Term]) -> None:
    experience = experiment.experience
    net = _Dummy(headless=bool(experiment.model.kwargs.get("without_fc", False)))
    parts = build_optimizers(experiment.optimizer, net, losses)
    check_warm_up(experiment, net)
    check_schedules(experiment, parts, batches=1)  # at least one: how many is known with the data
    for part in parts:
        if part.on_val is not None and not (experience.validates and experience.val_eval_freq > 0):
            raise UserError(
                f"optimizer.{part.name}.scheduler_on_val is told the validation metric: hold classes out "
                "(experience.holdout or kfold) and set experience.val_eval_freq"
            )


def check_warm_up(experiment: Experiment, net: nn.Module) -> None:
    """net: after `build_optimizers`, so that what has a gradient has an optimizer."""
    epochs, key = experiment.experience.warm_up, experiment.experience.warm_up_key
    parameters = list(getattr(net, key).parameters())
    if epochs > 0 and not parameters:
        raise UserError(f"experience.warm_up={epochs}: the model has no {key!r} that could be trained alone")
    if epochs > 0 and not any(parameter.requires_grad for parameter in parameters):
        raise UserError(f"experience.warm_up={epochs}: no optimizer trains {key!r}, so nothing would be trained")


def check_schedules(experiment: Experiment, parts: Sequence[TrainedPart], batches: int) -> None:
    epochs, every = experiment.experience.max_iter, experiment.experience.val_eval_freq
    validations = math.ceil(epochs / every) if every > 0 else 0
    check_length(parts, epochs=epochs, steps=epochs * batches, validations=validations)
