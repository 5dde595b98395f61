"""An Experiment's parts as objects: the only place that goes from names to constructors."""

from typing import Any, Literal

import torch
from torch import nn

from trainables import data
from trainables.errors import UserError
from trainables.experiment import Experiment, OptimizerPart
from trainables.models import RetrievalNet
from trainables.registry import DATASETS, LOSSES, MODELS, OPTIMIZERS, SAMPLERS, SCHEDULERS, construct

Optimizers = list[torch.optim.Optimizer]
Schedulers = list[torch.optim.lr_scheduler.LRScheduler]


def build_losses(experiment: Experiment) -> list[tuple[str, float | Literal["adaptive"], nn.Module]]:
    """(name, weight, module) of every summand."""
    return [(term.name, term.weight, construct("loss", LOSSES, term.name, term.kwargs)) for term in experiment.loss]


def build_dataset(experiment: Experiment) -> data.RetrievalDataset:
    """The data set, without its bad images where the experiment leaves those out. Touches no file."""
    dataset = construct("dataset", DATASETS, experiment.dataset.name, experiment.dataset.kwargs)
    return data.Skipping(dataset) if experiment.dataset.on_bad_image == "skip" else dataset


def build_sampler(experiment: Experiment, labels: Any) -> data.MPerClassSampler:
    """The batch sampler over train labels (n,)."""
    sampler = experiment.dataset.sampler
    return construct("sampler", SAMPLERS, sampler.name, sampler.kwargs, labels, seed=experiment.experience.seed)


def build_model(experiment: Experiment) -> RetrievalNet:
    net = construct("model", MODELS, experiment.model.name, experiment.model.kwargs)
    net.freeze_batch_norm = experiment.model.freeze_batch_norm
    return net


def build_optimizers(parts: tuple[OptimizerPart, ...], net: nn.Module) -> tuple[Optimizers, Schedulers]:
    """One optimizer for each entry over its part of the model, and the schedulers that step after an epoch."""
    optimizers: Optimizers = []
    schedulers: Schedulers = []
    trained: set[str] = set()
    for part in parts:
        if part.params in trained or (trained and "all" in {part.params, *trained}):
            raise UserError(f"optimizer: {part.params!r} is trained twice; each part has one optimizer")
        trained.add(part.params)
        module = net if part.params == "all" else getattr(net, part.params)
        params = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not params:
            raise UserError(f"optimizer.{part.params}: the model has no parameters in {part.params!r} to train")
        optimizer = construct("optimizer", OPTIMIZERS, part.name, part.kwargs, params)
        optimizers.append(optimizer)
        if part.scheduler_on_epoch is not None:
            scheduler = part.scheduler_on_epoch
            schedulers.append(construct("scheduler", SCHEDULERS, scheduler.name, scheduler.kwargs, optimizer))
    return optimizers, schedulers


class _Dummy(nn.Module):
    """Has every part a model has, with one weight each: what an optimizer's settings are checked on."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(1, 1)
        self.fc = nn.Linear(1, 1)


def check(experiment: Experiment) -> None:
    """Refuse what a constructor would refuse, without data, weights or a device."""
    build_losses(experiment)
    build_dataset(experiment)
    _check_transforms(experiment)
    construct_check_model(experiment)
    build_optimizers(experiment.optimizer, _Dummy())
    sampler = experiment.dataset.sampler
    plenty = [label for label in range(4096) for _ in range(8)]
    construct("sampler", SAMPLERS, sampler.name, sampler.kwargs, plenty, seed=0)


def _check_transforms(experiment: Experiment) -> None:
    files = issubclass(DATASETS[experiment.dataset.name], data.FileDataset)
    for part, steps in (("train", experiment.transform.train), ("test", experiment.transform.test)):
        if not data.build_transform(steps).equal_sizes and files:
            raise UserError(f"transform.{part} leaves the sizes of {experiment.dataset.name} unequal: {data.UNEQUAL}")


def construct_check_model(experiment: Experiment) -> None:
    """The model's settings, checked without building the network."""
    RetrievalNet.check(**experiment.model.kwargs)
