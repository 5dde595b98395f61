"""Names in a configuration -> the classes they mean. A constructor's signature is the schema of its kwargs."""

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import optim
from torch.optim import lr_scheduler

from trainables import data, losses
from trainables.errors import UserError, first_line, unknown
from trainables.memory import CrossBatchMemory
from trainables.models import RetrievalNet

LOSSES = {
    "SupAP": losses.SupAP,
    "SmoothAP": losses.SmoothAP,
    "CalibrationLoss": losses.CalibrationLoss,
    "ROADMAP": losses.ROADMAP,
    "FastAP": losses.FastAP,
    "SoftBinAP": losses.SoftBinAP,
    "BlackBoxAP": losses.BlackBoxAP,
    "PairLoss": losses.PairLoss,
}
MODELS = {"RetrievalNet": RetrievalNet}
DATASETS = {
    "emoji": data.Emoji,
    "sop": data.StanfordOnlineProducts,
    "cub": data.CUB200,
    "inaturalist": data.INaturalist,
    "inshop": data.InShop,
    "sfm120k": data.Sfm120k,
    "folder": data.ClassFolders,
    "csv": data.ImageTable,
}
SAMPLERS = {
    "MPerClassSampler": data.MPerClassSampler,
    "HierarchicalSampler": data.HierarchicalSampler,
    "RandomSampler": data.RandomSampler,
}
MEMORIES = {"XBM": CrossBatchMemory}
OPTIMIZERS = {
    "Adam": optim.Adam,
    "AdamW": optim.AdamW,
    "SGD": optim.SGD,
    "RMSprop": optim.RMSprop,
    "Adagrad": optim.Adagrad,
    "NAdam": optim.NAdam,
    "RAdam": optim.RAdam,
}
SCHEDULERS: Mapping[str, Callable[..., Any]] = {
    "MultiStepLR": lr_scheduler.MultiStepLR,
    "StepLR": lr_scheduler.StepLR,
    "ExponentialLR": lr_scheduler.ExponentialLR,
    "CosineAnnealingLR": lr_scheduler.CosineAnnealingLR,
    "CosineAnnealingWarmRestarts": lr_scheduler.CosineAnnealingWarmRestarts,
    "LinearLR": lr_scheduler.LinearLR,
    "ConstantLR": lr_scheduler.ConstantLR,
    "PolynomialLR": lr_scheduler.PolynomialLR,
    "OneCycleLR": lr_scheduler.OneCycleLR,
    "CyclicLR": lr_scheduler.CyclicLR,
    # every metric here is better the higher it is
    "ReduceLROnPlateau": partial(lr_scheduler.ReduceLROnPlateau, mode="max"),
}


def construct(
    kind: str,
    table: Mapping[str, Callable[..., Any]],
    name: str,
    kwargs: Mapping[str, Any],
    *given: Any,
    **more: Any,
) -> Any:
    """table[name](*given, **kwargs, **more); a UserError names the setting that the constructor refuses."""
    if name not in table:
        raise unknown(kind, name, table)
    parameters = dict(list(inspect.signature(table[name]).parameters.items())[len(given) :])
    for key in kwargs:
        if key not in parameters or key in more:
            raise unknown(f"setting of {name}", key, [known for known in parameters if known not in more])
    for key, value in kwargs.items():
        _check_type(name, parameters[key], value)
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and key not in kwargs
        and key not in more
    ]
    if missing:
        raise UserError(f"{name} needs {missing[0]!r}")
    try:
        return table[name](*given, **kwargs, **more)
    except (TypeError, ValueError) as error:
        text = first_line(error)
        raise UserError(text if isinstance(error, UserError) else f"{name}: {text}") from error


def _check_type(name: str, parameter: inspect.Parameter, value: object) -> None:
    """Against the type of the default, which is all that many constructors say of it."""
    kind = type(parameter.default)
    if kind is bool and not isinstance(value, bool):
        raise UserError(f"{name}: {parameter.name} must be true or false, not {value!r}")
    # null is left to the constructor: some numbers may be absent
    number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    takes_list = any(typing.get_origin(part) is list for part in typing.get_args(parameter.annotation))
    if kind in (int, float) and not number and not (takes_list and isinstance(value, list)):
        raise UserError(f"{name}: {parameter.name} must be a number, not {value!r}")
