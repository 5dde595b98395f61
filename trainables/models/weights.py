"""Weights on disk: found in a file or a folder, read without running code, and fitted strictly."""

import math
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.errors import UserError

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
# what a hub calls the one file of a model's folder, the preferred first
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
# entries under which training programs keep the weights
WRAPPED = ("state_dict", "model")
SHOWN = 3

State = dict[str, Tensor]


def find(path: Path, names: Sequence[str]) -> Path:
    """The weights file at `path`: the file itself, or in a folder the only one that is named after the model.

    names: what the model is called. "resnet50" finds resnet50.pth, resnet50-0676ba61.pth, resnet50.a1_in1k.safetensors
    and resnet50.a1_in1k/model.safetensors; where no file carries a name, the folder's own model.safetensors.
    Raises UserError where there is none or more than one.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"model.kwargs.weights: there is no file {str(path)!r}, nor a folder")
    pattern = "|".join(rf"{re.escape(name)}([-.].*)?" for name in names)
    matches = []
    for entry in sorted(path.iterdir()):
        inside = _hub_file(entry) if entry.is_dir() else entry
        named = entry.name if entry.is_dir() else entry.stem
        if inside is not None and inside.suffix in SUFFIXES and re.fullmatch(pattern, named):
            matches.append(inside)
    own = _hub_file(path)
    if not matches and own is not None:
        return own
    if len(matches) != 1:
        what = f"{len(matches)} files are" if matches else "no file is"
        listed = matches or [entry for entry in sorted(path.iterdir()) if entry.is_dir() or entry.suffix in SUFFIXES]
        there = _some([str(entry.relative_to(path)) for entry in listed], 10) or "nothing"
        raise UserError(f"model.kwargs.weights: in {str(path)!r} {what} named after {names[-1]!r}; there: {there}")
    return matches[0]


def read(file: Path) -> State:
    """Tensors by name from .safetensors or a torch file, not to be written to; nothing in the file is ever run.

    The file is mapped where its format allows: a node's processes share its pages, read from disk once. What was read
    last is kept: an actor trains one trial after another from the same weights.
    """
    try:
        stamp = file.stat()
    except OSError as error:
        raise UserError(f"{file} cannot be read as weights: {first_line(error)}") from error
    return dict(_read(file, stamp.st_mtime_ns, stamp.st_size))


@lru_cache(maxsize=1)
def _read(file: Path, changed: int, size: int) -> State:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:
        raise UserError(f"{file} cannot be read as weights: {first_line(error)}") from error
    if isinstance(found, dict):
        found = next((found[key] for key in WRAPPED if isinstance(found.get(key), dict)), found)
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{file} cannot be read as weights: it holds no tensors by name")
    return {str(key): value for key, value in found.items()}


def fit(module: nn.Module, state: Mapping[str, Tensor], source: str, to: str, besides: Collection[str] = ()) -> None:
    """Copies `state` into `module` (called `to`): every tensor must be there, none unknown, each of the right shape.

    besides: names of the module that the state need not have. Batch counters, which no forward pass reads, may be
    missing too: torchvision's older files are without them.
    """
    own = module.state_dict()
    optional = {key for key in own if key in besides or key.endswith(".num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in optional]
    unknown = [key for key in state if key not in own]
    if missing or unknown:
        told = [f"{len(keys)} weights {what} ({_some(keys)})" for keys, what in
                ((missing, "missing"), (unknown, "unknown")) if keys]  # fmt: skip
        raise UserError(f"{source} does not fit {to}: {', '.join(told)}")
    wrong = [key for key in state if own[key].shape != state[key].shape]
    if wrong:
        shapes = [f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}" for key in wrong]
        raise UserError(f"{source} does not fit {to}: {len(wrong)} of another shape ({_some(shapes)})")
    module.load_state_dict({**own, **state})


def without_layers(state: Mapping[str, Tensor], layers: Collection[str]) -> State:
    """The state without the layers of these names."""
    return {key: value for key, value in state.items() if key.rpartition(".")[0] not in layers}


def without_distillation(state: Mapping[str, Tensor], source: str) -> State:
    """A distilled DeiT as a plain one: distillation token, its position and its classifier left out.

    The position embedding (1, 2 + patches, C) is of the class token, the distillation token and the patches.
    """
    if "dist_token" not in state or "pos_embed" not in state:
        raise UserError(
            f"{source} holds no distilled weights: it has no dist_token (the name without _distilled reads plain ones)"
        )
    positions = state["pos_embed"]
    kept = without_layers(state, {"head_dist"})
    del kept["dist_token"]
    return {**kept, "pos_embed": torch.cat((positions[:, :1], positions[:, 2:]), dim=1)}


def with_resized_positions(state: Mapping[str, Tensor], transformer: nn.Module) -> State:
    """The state with its position embedding interpolated to the transformer's grid of patches."""
    from timm.layers import resample_abs_pos_embed

    own, positions = getattr(transformer, "pos_embed", None), state.get("pos_embed")
    if own is None or positions is None or positions.ndim != own.ndim:
        return dict(state)
    height, width = transformer.patch_embed.grid_size  # type: ignore[union-attr,misc]
    prefix = own.shape[1] - height * width
    patches = positions.shape[1] - prefix
    if patches != max(1, math.isqrt(max(0, patches))) ** 2:
        # no square of patches: the fit will say so
        return dict(state)
    resized = resample_abs_pos_embed(positions, [height, width], num_prefix_tokens=prefix)
    return {**state, "pos_embed": resized}


def first_line(error: Exception) -> str:
    """What an exception says, on one line; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _hub_file(folder: Path) -> Path | None:
    return next((folder / name for name in HUB_FILES if (folder / name).is_file()), None)


def _some(names: Sequence[str], most: int = SHOWN) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
