"""An Experiment's parts as objects: the only place that goes from names to constructors."""

import inspect
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from trainables import data
from trainables.errors import UserError, unknown
from trainables.evaluation import metric_names
from trainables.experiment import Experiment, LossTerm, OptimizerPart, Sampler
from trainables.losses import metric_learning
from trainables.models import RetrievalNet
from trainables.registry import DATASETS, LOSSES, MODELS, OPTIMIZERS, SAMPLERS, SCHEDULERS, construct

Losses = list[tuple[str, float | Literal["adaptive"], nn.Module]]
Optimizers = list[torch.optim.Optimizer]
Schedulers = list[torch.optim.lr_scheduler.LRScheduler]


def build_losses(experiment: Experiment, num_classes: int | None = None, embed_dim: int | None = None) -> Losses:
    """(name, weight, module) of every summand, for so many train classes and dimensions (None: not known yet)."""
    return [(term.short_name, term.weight, build_loss(term, num_classes, embed_dim)) for term in experiment.loss]


def build_loss(term: LossTerm, num_classes: int | None, embed_dim: int | None) -> nn.Module:
    """The module of one summand; one with proxies gets as many as there are classes, as long as an embedding."""
    if term.name in LOSSES:
        loss: nn.Module = construct("loss", LOSSES, term.name, term.kwargs)
        return loss
    if not term.name.startswith(metric_learning.FOLDER):
        raise unknown("loss", term.name, [*LOSSES, *(metric_learning.table() if metric_learning.installed() else ())])
    table = metric_learning.table()
    if term.name not in table:
        raise metric_learning.refuse(term.name)
    own, settled = metric_learning.sizes(term.name, term.kwargs, num_classes, embed_dim)
    return construct("loss", table, term.name, own, **settled)


def build_dataset(experiment: Experiment) -> data.Emoji | data.Sfm120k:
    return construct("dataset", DATASETS, experiment.dataset.name, experiment.dataset.kwargs)


def build_sampler(experiment: Experiment, labels: Any, super_labels: Any) -> data.BatchSampler:
    """The batch sampler over train labels (n,) and super-labels (n,) or None."""
    return _sampler(experiment.dataset.sampler, labels, super_labels, experiment.experience.seed)


def _sampler(sampler: Sampler, labels: Any, super_labels: Any, seed: int) -> data.BatchSampler:
    if sampler.name not in SAMPLERS:
        raise unknown("sampler", sampler.name, SAMPLERS)
    given = {"labels": labels, "super_labels": super_labels, "seed": seed}
    taken = inspect.signature(SAMPLERS[sampler.name]).parameters
    of_data = {key: value for key, value in given.items() if key in taken}
    return construct("sampler", SAMPLERS, sampler.name, sampler.kwargs, **of_data)


def build_model(experiment: Experiment) -> RetrievalNet:
    net = construct("model", MODELS, experiment.model.name, experiment.model.kwargs)
    net.freeze_batch_norm = experiment.model.freeze_batch_norm
    return net


def build_optimizers(parts: tuple[OptimizerPart, ...], net: nn.Module, losses: Losses) -> tuple[Optimizers, Schedulers]:
    """One optimizer for each entry over its part of the model, and the schedulers that step after an epoch."""
    optimizers: Optimizers = []
    schedulers: Schedulers = []
    trained: set[str] = set()
    for part in parts:
        of_model = {part.params, *trained} - {"loss"}
        if part.params in trained or ("all" in of_model and len(of_model) > 1):
            raise UserError(f"optimizer: {part.params!r} is trained twice; each part has one optimizer")
        trained.add(part.params)
        proxies = nn.ModuleList([loss for _, _, loss in losses])
        module = net if part.params == "all" else proxies if part.params == "loss" else getattr(net, part.params)
        params = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not params:
            where = "no loss has parameters" if part.params == "loss" else "the model has no parameters in it"
            raise UserError(f"optimizer.{part.params}: {where} to train")
        optimizer = construct("optimizer", OPTIMIZERS, part.name, part.kwargs, params)
        optimizers.append(optimizer)
        if part.scheduler_on_epoch is not None:
            scheduler = part.scheduler_on_epoch
            schedulers.append(construct("scheduler", SCHEDULERS, scheduler.name, scheduler.kwargs, optimizer))
    untrained = [name for name, _, loss in losses if any(True for _ in loss.parameters())]
    if untrained and "loss" not in trained:
        raise UserError(
            f"{untrained[0]} has proxies to train: add an optimizer with params: loss, as optimizer=proxies"
        )
    return optimizers, schedulers


class _Dummy(nn.Module):
    """Has every part a model has, with one weight each: what an optimizer's settings are checked on."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(1, 1)
        self.fc = nn.Linear(1, 1)


def check(experiment: Experiment) -> None:
    """Refuse what a constructor would refuse, without data, weights or a device."""
    losses = check_losses(experiment)
    build_dataset(experiment)
    check_evaluation(experiment)
    data.build_transform(experiment.transform.train)
    data.build_transform(experiment.transform.test)
    construct_check_model(experiment)
    build_optimizers(experiment.optimizer, _Dummy(), losses)
    plenty = np.repeat(np.arange(1024), 64)
    _sampler(experiment.dataset.sampler, plenty, plenty % 64, seed=0)


def check_losses(experiment: Experiment) -> Losses:
    """The losses' settings, and whether each can be compared with the memory, on a batch of a few numbers."""
    losses = build_losses(experiment)
    for term, (_, _, loss) in zip(experiment.loss, losses, strict=True):
        if term.name not in LOSSES:
            metric_learning.probe(term.name, loss, term.kwargs, references=experiment.memory.name is not None)
    return losses


def construct_check_model(experiment: Experiment) -> None:
    """The model's settings, checked without building the network."""
    RetrievalNet.check(**experiment.model.kwargs)


def check_evaluation(experiment: Experiment) -> None:
    """Whether what the experience evaluates is what the data set and the validation split have."""
    experience, name = experiment.experience, experiment.dataset.name
    dataset = construct("dataset", DATASETS, name, experiment.dataset.kwargs)
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
    if experience.validates and experience.principal_metric not in measured:
        metric = experience.principal_metric
        raise unknown("metric of the validation split", metric, measured, where="experience.principal_metric")
