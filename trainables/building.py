"""An Experiment's parts as objects: the only place that goes from names to constructors."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from trainables import data
from trainables.embedding import Forward, Precision
from trainables.errors import UserError, unknown
from trainables.experiment import Experiment, OptimizerPart
from trainables.memory import CrossBatchMemory
from trainables.models import RetrievalNet
from trainables.objective import Objective, Term
from trainables.optimization import Optimization, TrainedPart, check_length
from trainables.registry import DATASETS, LOSSES, MEMORIES, MODELS, OPTIMIZERS, SAMPLERS, SCHEDULERS, construct
from trainables.steps import Step


def build_losses(experiment: Experiment) -> list[Term]:
    """Every summand; one that is there several times is called after its position too: SupAP_0, SupAP_2."""
    times = Counter(term.name for term in experiment.loss)
    return [
        Term(
            term.name if times[term.name] == 1 else f"{term.name}_{position}",
            term.weight,
            construct("loss", LOSSES, term.name, term.kwargs),
        )
        for position, term in enumerate(experiment.loss)
    ]


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


def build_dataset(experiment: Experiment) -> data.Emoji:
    return construct("dataset", DATASETS, experiment.dataset.name, experiment.dataset.kwargs)


def build_sampler(experiment: Experiment, labels: Any) -> data.MPerClassSampler:
    """The batch sampler over train labels (n,)."""
    sampler = experiment.dataset.sampler
    return construct("sampler", SAMPLERS, sampler.name, sampler.kwargs, labels, seed=experiment.experience.seed)


def build_model(experiment: Experiment) -> RetrievalNet:
    net = construct("model", MODELS, experiment.model.name, experiment.model.kwargs)
    net.freeze_batch_norm = experiment.model.freeze_batch_norm
    return net


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
        raise UserError(f"{proxies[0][0]} has proxies of its own to train: add an optimizer with params: loss")
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
    optimizer = construct("optimizer", OPTIMIZERS, part.name, part.kwargs, params)
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


def build_step(experiment: Experiment, net: RetrievalNet, device: torch.device, images: int, batches: int) -> Step:
    """How one batch is trained on. images: of the train split; batches: of an epoch."""
    experience = experiment.experience
    precision = Precision(device, getattr(torch, experience.amp_dtype), net.with_autocast)
    terms = build_losses(experiment)
    for term in terms:
        term.loss.to(device)
    memory = build_memory(experiment, images, net.embed_dim, device)
    parts = build_optimizers(experiment.optimizer, net, terms)
    _check_warm_up(experiment, net)
    _check_length(experiment, parts, batches)
    return Step(
        net,
        Forward(net, precision, experience.channels_last),
        Objective(terms, memory, experiment.memory.weight, experience.log_grad),
        Optimization(parts, precision.scaler(), experience.clip_grad, experience.log_grad),
        experience.sub_batch,
    )


class _Dummy(nn.Module):
    """Has every part a model has, with one weight each: what an optimizer's settings are checked on."""

    def __init__(self, headless: bool) -> None:
        super().__init__()
        self.backbone = nn.Linear(1, 1)
        self.fc = nn.Identity() if headless else nn.Linear(1, 1)


def check(experiment: Experiment) -> None:
    """Refuse what a constructor would refuse, without data, weights or a device."""
    losses = build_losses(experiment)
    build_dataset(experiment)
    data.build_transform(experiment.transform.train)
    data.build_transform(experiment.transform.test)
    construct_check_model(experiment)
    _check_memory(experiment, losses)
    _check_optimization(experiment, losses)
    sampler = experiment.dataset.sampler
    plenty = [label for label in range(4096) for _ in range(8)]
    construct("sampler", SAMPLERS, sampler.name, sampler.kwargs, plenty, seed=0)


def construct_check_model(experiment: Experiment) -> None:
    """The model's settings, checked without building the network."""
    RetrievalNet.check(**experiment.model.kwargs)


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
        points, labels = nn.functional.normalize(torch.eye(4) + 0.5), torch.tensor([0, 0, 1, 1])
        try:
            with torch.random.fork_rng(devices=[]):
                loss(points, labels, points, labels)
        except Exception as error:
            told = str(error).partition("\n")[0]
            raise UserError(f"{name} cannot be compared with a memory: {told}") from error


def _check_optimization(experiment: Experiment, losses: Sequence[Term]) -> None:
    experience = experiment.experience
    net = _Dummy(headless=bool(experiment.model.kwargs.get("without_fc", False)))
    parts = build_optimizers(experiment.optimizer, net, losses)
    _check_warm_up(experiment, net)
    _check_length(experiment, parts, batches=1)  # at least one: how many is known with the data
    for part in parts:
        if part.on_val is not None and not (experience.validates and experience.val_eval_freq > 0):
            raise UserError(
                f"optimizer.{part.name}.scheduler_on_val is told the validation metric: hold classes out "
                "(experience.holdout or kfold) and set experience.val_eval_freq"
            )


def _check_warm_up(experiment: Experiment, net: nn.Module) -> None:
    """net: after `build_optimizers`, so that what has a gradient has an optimizer."""
    epochs, key = experiment.experience.warm_up, experiment.experience.warm_up_key
    parameters = list(getattr(net, key).parameters())
    if epochs > 0 and not parameters:
        raise UserError(f"experience.warm_up={epochs}: the model has no {key!r} that could be trained alone")
    if epochs > 0 and not any(parameter.requires_grad for parameter in parameters):
        raise UserError(f"experience.warm_up={epochs}: no optimizer trains {key!r}, so nothing would be trained")


def _check_length(experiment: Experiment, parts: Sequence[TrainedPart], batches: int) -> None:
    epochs, every = experiment.experience.max_iter, experiment.experience.val_eval_freq
    validations = math.ceil(epochs / every) if every > 0 else 0
    check_length(parts, epochs=epochs, steps=epochs * batches, validations=validations)


def check_metric(experiment: Experiment) -> None:
    """UserError: a principal metric that no evaluation gives (a sweep refuses its objective in its own words).

    Landmarks have metrics of their own.
    """
    experience = experiment.experience
    known = [f"recall_at_{k}" for k in experiment.dataset.ks] + ["precision_at_1", "r_precision", "map_at_r"]
    known += ["map", "mrr"] if experience.with_AP else []
    if not experience.landmarks and experience.principal_metric not in known:
        raise unknown("experience.principal_metric", experience.principal_metric, known)
