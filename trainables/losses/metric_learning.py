"""Any supervised loss of pytorch-metric-learning, by the name `pml/MultiSimilarityLoss`.

The package is imported when the first of its names is asked for.
"""

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.errors import UserError, unknown

FOLDER = "pml/"
PACKAGE = "pytorch-metric-learning>=2.8,<3"
NOT_LOSSES = {
    "CrossBatchMemory": "the memory is a group of its own: memory.name=XBM",
    "MultipleLosses": "the loss group is a list: name each of them in it",
    "SelfSupervisedLoss": "it has no labels",
    "VICRegLoss": "it has no labels",
    "ManifoldLoss": "it has no labels",
}
SIZES = {"num_classes": "num_classes", "embedding_size": "embed_dim", "descriptors_dim": "embed_dim"}
"""The parameters that the data and the model settle, never the user."""
STAND_INS = {"num_classes": 2, "embed_dim": 8}


class MetricLearningLoss(nn.Module):
    """A loss of the package, called as ours are, with all that it keeps in its state.

    With ref_emb, pairs are of the batch with the references alone, all of them: one that is the query's own image
    counts as its positive. Losses that know no references refuse them: ValueError.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        for name, value in list(vars(loss).items()):
            if isinstance(value, Tensor):
                # a histogram or a boundary in a plain attribute: neither moved to a device nor saved with the rest
                delattr(loss, name)
                loss.register_buffer(name, value)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """embeddings (B, D), labels (B,) of 0..num_classes-1, ref_emb (M, D), ref_labels (M,) -> scalar."""
        value = self.loss(embeddings, labels, ref_emb=ref_emb, ref_labels=ref_labels)
        for name, kept in list(self.loss.named_buffers(recurse=False)):
            setattr(self.loss, name, kept.detach())  # a running histogram would keep every earlier graph alive
        return value + 0 * embeddings.sum()  # a batch without a violating pair may give a number without a gradient


def table() -> Mapping[str, Callable[..., MetricLearningLoss]]:
    """`pml/NAME` -> its constructor, whose signature has the settings that a configuration can hold."""
    return {f"{FOLDER}{name}": _constructor(name) for name in _classes()}


def refuse(name: str) -> UserError:
    """Why `pml/NAME` is none of the table's."""
    short = name.removeprefix(FOLDER)
    if short in NOT_LOSSES:
        return UserError(f"{name} is no loss of a labelled batch: {NOT_LOSSES[short]}")
    return unknown("loss of pytorch-metric-learning", short, _classes())


def sizes(
    name: str, kwargs: Mapping[str, Any], num_classes: int | None, embed_dim: int | None
) -> tuple[dict[str, Any], dict[str, int]]:
    """The settings that are the user's, and those that the data and the model settle for this loss.

    num_classes, embed_dim: None while there are no data and no model; the user's numbers or small ones stand in.
    UserError where the user's number is another one.
    """
    own = dict(kwargs)
    settled: dict[str, int] = {}
    for key, parameter in inspect.signature(_constructor(name.removeprefix(FOLDER))).parameters.items():
        if key not in SIZES:
            continue
        told = own.pop(key, None)
        if told is None and parameter.default is not parameter.empty:
            continue
        of_data = SIZES[key] == "num_classes"
        size = num_classes if of_data else embed_dim
        if size is None:
            size = told if told is not None else STAND_INS[SIZES[key]]
        if told not in (None, size):
            by = "the train split's classes" if of_data else "the model's dimensions"
            raise UserError(f"{name}: {key} is {size}, {by}, not {told!r}: leave it out")
        settled[key] = size
    return own, settled


def installed() -> bool:
    return importlib.util.find_spec("pytorch_metric_learning") is not None


def probe(name: str, loss: nn.Module, kwargs: Mapping[str, Any], references: bool) -> None:
    """Runs the loss on four images of two classes; UserError for settings that the constructor lets through.

    loss: built by these settings without data and model. references: against a memory of twelve, too.
    """
    embed_dim = kwargs.get("embedding_size") or kwargs.get("descriptors_dim") or STAND_INS["embed_dim"]
    try:
        value = _probed(loss, embed_dim)
    except Exception as error:
        told = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{name}: {told}") from error
    if not torch.isfinite(value):
        raise UserError(f"{name}: its settings give {float(value)} on a batch of two classes")
    if references:
        try:
            _probed(loss, embed_dim, images=12)
        except (ValueError, IndexError) as error:
            raise UserError(f"{name} compares a batch with itself alone, it takes no memory: memory=default") from error


def _probed(loss: nn.Module, embed_dim: int, images: int = 0) -> Tensor:
    """The loss of a batch of four, against a memory of so many images."""
    generator = torch.Generator().manual_seed(0)
    rows = functional.normalize(torch.randn(4 + images, embed_dim, generator=generator), dim=1)
    labels = torch.arange(4 + images) // 2 % 2
    known = (rows[4:], labels[4:]) if images else ()
    value: Tensor = loss(rows[:4].requires_grad_(), labels[:4], *known)
    value.backward()
    return value.detach()


@cache
def _classes() -> dict[str, Any]:
    losses = _package()
    abstract = {losses.BaseMetricLossFunction, losses.GenericPairLoss}
    return {
        name: kind
        for name, kind in vars(losses).items()
        if inspect.isclass(kind)
        and issubclass(kind, losses.BaseMetricLossFunction)
        and kind not in abstract
        and name not in NOT_LOSSES
    }


def _package() -> ModuleType:
    if not installed():
        raise UserError(f"{FOLDER} losses need a package that is not installed: pip install '{PACKAGE}'")
    return importlib.import_module("pytorch_metric_learning.losses")


def _constructor(name: str) -> Callable[..., MetricLearningLoss]:
    kind: type[nn.Module] = _classes()[name]
    made = partial(_make, kind)
    made.__signature__ = inspect.Signature(_settings(kind))  # type: ignore[attr-defined]
    return made


def _make(kind: type[nn.Module], **settings: Any) -> MetricLearningLoss:
    return MetricLearningLoss(kind(**settings))


def _settings(kind: type[nn.Module]) -> list[inspect.Parameter]:
    """The named parameters of the class and of the losses it passes the rest on to, as keywords.

    Those of the abstract classes are objects (distance, reducer, regularizers), which no configuration can hold.
    """
    losses = _package()
    found: dict[str, inspect.Parameter] = {}
    for ancestor in kind.__mro__:
        if ancestor in (losses.BaseMetricLossFunction, losses.GenericPairLoss) or not issubclass(
            ancestor, losses.BaseMetricLossFunction
        ):
            continue
        own = inspect.signature(ancestor).parameters.values()
        for parameter in own:
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD or parameter.kind is parameter.KEYWORD_ONLY:
                found.setdefault(parameter.name, parameter.replace(kind=parameter.KEYWORD_ONLY))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            break
    return list(found.values())
