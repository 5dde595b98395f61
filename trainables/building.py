"""An Experiment's parts as objects: the only place that goes from names to constructors."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from trainables import data
from trainables.distributed import World
from trainables.embedding import Forward, Precision, is_channels_last
from trainables.errors import UserError, first_line, unknown
from trainables.experiment import Experiment, LossTerm, OptimizerPart, Sampler
from trainables.losses import metric_learning
from trainables.memory import CrossBatchMemory
from trainables.models import RetrievalNet
from trainables.objective import Objective, Term
from trainables.optimization import Optimization, TrainedPart
from trainables.registry import DATASETS, LOSSES, MEMORIES, MODELS, OPTIMIZERS, SAMPLERS, SCHEDULERS, construct
from trainables.steps import Step


def build_losses(experiment: Experiment, num_classes: int | None = None, embed_dim: int | None = None) -> list[Term]:
    """Every summand, for so many train classes and dimensions (None: not known yet).

    One that is there several times is called after its position too: SupAP_0, SupAP_2.
    """
    times = Counter(term.short_name for term in experiment.loss)
    return [
        Term(
            term.short_name if times[term.short_name] == 1 else f"{term.short_name}_{position}",
            term.weight,
            build_loss(term, num_classes, embed_dim),
        )
        for position, term in enumerate(experiment.loss)
    ]


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


def build_memory(
    experiment: Experiment, images: int, embed_dim: int, device: torch.device | str
) -> CrossBatchMemory | None:
    """The memory for a train split of so many images, None where there is none."""
    memory = experiment.memory
    if memory.name is None:
        return None
    given = {"images": images, "embed_dim": embed_dim, "device": device}
    built: CrossBatchMemory = construct("memory", MEMORIES, memory.name, memory.kwargs, **given)
    return built


def unreadable(experiment: Experiment) -> str:
    """Why the data set cannot be read on this machine, in one line; "" where it can."""
    try:
        dataset = build_dataset(experiment)
        dataset.train()
        dataset.ensure()  # makes nothing where the split could be read
    except (UserError, OSError, EOFError) as error:
        return first_line(error)
    return ""


def build_dataset(experiment: Experiment, cached: bool = True) -> data.RetrievalDataset:
    """The data set, without its bad images where the experiment leaves those out. Touches no file.

    cached: from the cache where the experiment wants one; else from the files all the same.
    """
    dataset = named_dataset(experiment)
    if experiment.dataset.on_bad_image == "skip":
        dataset = data.Skipping(dataset)
    if cached and experiment.dataset.cache is not None:
        dataset = data.Cached(dataset, experiment.dataset.name, cached_side(experiment))
    return dataset


def cached_side(experiment: Experiment) -> int:
    """The shorter side of a cached picture. UserError where the transforms allow of none."""
    steps = {"train": experiment.transform.train, "test": experiment.transform.test}
    return data.short_side({part: data.build_transform(own) for part, own in steps.items()})


def named_dataset(experiment: Experiment) -> data.RetrievalDataset:
    """As its name says, bad images and all."""
    dataset: data.RetrievalDataset = construct("dataset", DATASETS, experiment.dataset.name, experiment.dataset.kwargs)
    return dataset


def build_sampler(experiment: Experiment, labels: Any, super_labels: Any) -> data.BatchSampler:
    """The batch sampler over train labels (n,) and super-labels (n,) or None."""
    return sampler_of(experiment.dataset.sampler, labels, super_labels, experiment.experience.seed)


def sampler_of(sampler: Sampler, labels: Any, super_labels: Any, seed: int) -> data.BatchSampler:
    """Given those of labels, super-labels and seed that it takes."""
    if sampler.name not in SAMPLERS:
        raise unknown("sampler", sampler.name, SAMPLERS)
    given = {"labels": labels, "super_labels": super_labels, "seed": seed}
    taken = inspect.signature(SAMPLERS[sampler.name]).parameters
    of_data = {key: value for key, value in given.items() if key in taken}
    return construct("sampler", SAMPLERS, sampler.name, sampler.kwargs, **of_data)


def build_model(experiment: Experiment) -> RetrievalNet:
    net: RetrievalNet = _construct_model(experiment, MODELS)
    return net


def without_downloads(experiment: Experiment) -> Experiment:
    """For a checkpoint, which brings every weight: none is fetched to be overwritten."""
    kwargs = {**experiment.model.kwargs, "pretrained": False, "weights": None}
    return experiment.model_copy(update={"model": experiment.model.model_copy(update={"kwargs": kwargs})})


def model_settings(experiment: Experiment) -> Any:
    """The model's settings, checked without building the network."""
    return _construct_model(experiment, {name: net.Settings for name, net in MODELS.items()})


def _construct_model(experiment: Experiment, table: Mapping[str, Callable[..., Any]]) -> Any:
    model = experiment.model
    frozen = {"freeze_batch_norm": model.freeze_batch_norm, "freeze_pos_embedding": model.freeze_pos_embedding}
    return construct("model", table, model.name, model.kwargs, **frozen)


def build_optimizers(parts: Sequence[OptimizerPart], net: nn.Module, losses: Iterable[Term]) -> list[TrainedPart]:
    """One optimizer for each entry, with its schedulers. Weights of the model without an optimizer get no gradient."""
    trained: set[str] = set()
    proxies = [(name, parameter) for name, _, loss in losses for parameter in loss.parameters()]
    built = []
    for part in parts:
        of_model = {part.params, *trained} - {"loss"}
        if part.params in trained or ("all" in of_model and len(of_model) > 1):
            raise UserError(f"optimizer: {part.params!r} is trained twice; each part has one optimizer")
        trained.add(part.params)
        built.append(_trained_part(part, _parameters(part.params, net, [parameter for _, parameter in proxies])))
    if proxies and "loss" not in trained:
        raise UserError(
            f"{proxies[0][0]} has proxies of its own to train: add an optimizer with params: loss, as optimizer=proxies"
        )
    with_optimizer = {id(parameter) for part in built for parameter in part.parameters}
    for parameter in net.parameters():
        parameter.requires_grad_(id(parameter) in with_optimizer)
    return built


def _parameters(part: str, net: nn.Module, proxies: list[nn.Parameter]) -> list[nn.Parameter]:
    if part == "loss":
        if not proxies:
            raise UserError("optimizer.loss: no loss has parameters of its own to train")
        return proxies
    module = net if part == "all" else getattr(net, part)
    params = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not params:
        raise UserError(f"optimizer.{part}: the model has no parameters in {part!r} to train")
    return params


def _trained_part(part: OptimizerPart, params: list[nn.Parameter]) -> TrainedPart:
    try:
        optimizer = construct("optimizer", OPTIMIZERS, part.name, part.kwargs, params)
    except UserError as error:
        raise UserError(f"optimizer.{part.params}: {error}") from None
    occasions = {
        "on_epoch": part.scheduler_on_epoch,
        "on_step": part.scheduler_on_step,
        "on_val": part.scheduler_on_val,
    }
    schedulers = {}
    for occasion, scheduler in occasions.items():
        if scheduler is None:
            continue
        where = f"optimizer.{part.params}.scheduler_{occasion}"
        if scheduler.name == "ReduceLROnPlateau" and occasion != "on_val":
            raise UserError(f"{where}: ReduceLROnPlateau looks at a metric, it belongs in scheduler_on_val")
        if scheduler.name == "ReduceLROnPlateau" and scheduler.kwargs.get("mode", "max") != "max":
            raise UserError(
                f"{where}: mode must be max, every metric is better the higher, not {scheduler.kwargs['mode']!r}"
            )
        schedulers[occasion] = construct("scheduler", SCHEDULERS, scheduler.name, scheduler.kwargs, optimizer)
    return TrainedPart(part.params, optimizer, **schedulers)


def build_step(experiment: Experiment, net: RetrievalNet, world: World, images: data.LabelledImages) -> Step:
    """How one batch is trained on, by the processes of a world. images: the train split."""
    experience = experiment.experience
    device = next(net.parameters()).device
    precision = Precision(device, getattr(torch, experience.amp_dtype), net.with_autocast)
    terms = build_losses(experiment, images.num_classes, net.embed_dim)
    for term in terms:
        term.loss.to(device)
    memory = build_memory(experiment, len(images), net.embed_dim, device)
    parts = build_optimizers(experiment.optimizer, net, terms)
    return Step(
        net,
        Forward(net, precision, is_channels_last(net), data.build_transform(experiment.transform.train).normalised),
        Objective(terms, memory, experiment.memory.weight, experience.log_grad),
        Optimization(parts, precision.scaler(), experience.clip_grad, experience.log_grad),
        experience.sub_batch,
        world,
    )
