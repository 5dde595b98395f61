"""Checkpoints that the ROADMAP reference wrote: their network's weights, read into a network of ours.

The reference keeps the weights under "net_state", and beside them its configuration and the states of generators as
pickled objects. Those are never made: each becomes an empty placeholder, and a file that asks for others is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import ResNet

from trainables.errors import UserError
from trainables.models import RetrievalNet, weights

NET = "net_state"
# packages whose objects stand beside the weights: the configuration and the states of generators
BESIDE = ("omegaconf.", "numpy.")
PLAIN = {"typing.Any", "collections.defaultdict", "_codecs.encode"} | {
    f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple")
}
# the reference keeps a torchvision ResNet's children in their order, without the last two
RESNET = {
    "0": "conv1",
    "1": "bn1",
    "4": "layer1",
    "5": "layer2",
    "6": "layer3",
    "7": "layer4",
}


def read_reference(path: str | Path, net: RetrievalNet) -> None:
    """Copies the weights of a reference's checkpoint into `net`, which must be built with the checkpoint's settings.

    Raises UserError where the file is no such checkpoint, or a weight is missing, unknown or of another shape. Fits
    the reference's torchvision ResNets and every transformer whose layers timm has not changed since.
    """
    file = Path(path).expanduser()
    state = _own_names(_net_state(file), isinstance(net.backbone, ResNet))
    weights.fit(net, state, str(file), "the network of model.kwargs")


def _net_state(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise UserError(f"there is no checkpoint {str(file)!r}")
    try:
        asked = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        foreign = [name for name in asked if not name.startswith(BESIDE) and name not in PLAIN]
        if foreign:
            raise UserError(
                f"{file} is not read: it asks for {foreign[0]!r}, which no checkpoint of the reference holds"
            )
        with torch.serialization.safe_globals([(_Placeholder, name) for name in asked]):
            found = torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{file} cannot be read as a checkpoint: {weights.first_line(error)}") from error
    state = found.get(NET) if isinstance(found, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{file} is no checkpoint of the reference: it has no weights under {NET!r}")
    return {str(key): value for key, value in state.items()}


def _own_names(state: Mapping[str, Tensor], resnet: bool) -> dict[str, Tensor]:
    """The reference's names -> ours; what has no counterpart keeps its name and is refused as unknown."""
    found = {}
    for key, value in state.items():
        parts = key.removeprefix("module.").split(".")
        if resnet and parts[0] == "backbone" and len(parts) > 1:
            parts[1] = RESNET.get(parts[1], parts[1])
        found[".".join(parts)] = value
    return found


class _Placeholder:
    """Takes the place of any object beside the weights: accepts all that a pickle does to it and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Placeholder":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __hash__(self) -> int:
        return 0
