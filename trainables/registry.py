"""Names in a configuration -> the classes they mean. A constructor's signature is the schema of its kwargs."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from trainables import data, losses
from trainables.errors import UserError, unknown
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
    "folder": data.ClassFolders,
    "csv": data.ImageTable,
}
SAMPLERS = {"MPerClassSampler": data.MPerClassSampler}
OPTIMIZERS = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
SCHEDULERS = {"MultiStepLR": torch.optim.lr_scheduler.MultiStepLR}


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
    for key, value in kwargs.items():
        if key not in parameters or key in more:
            raise unknown(f"setting of {name}", key, [known for known in parameters if known not in more])
        default = parameters[key].default
        # null is left to the constructor: some numbers may be absent
        number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        if type(default) in (int, float) and not number:
            raise UserError(f"{name}: {key} must be a number, not {value!r}")
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
        text = str(error).splitlines()[0]
        raise UserError(text if isinstance(error, UserError) else f"{name}: {text}") from error
