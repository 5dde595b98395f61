"""Checkpoints: written whole or not at all, read without running code."""

import os
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from trainables.errors import UserError, first_line
from trainables.experiment import Experiment

FORMAT = 2
CHECKPOINT = "training.ckpt"  # in the folder that Ray keeps of an epoch


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Replaces `path` at once: a crash in the middle leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: Path) -> dict[str, Any]:
    """The state in `path`, tensors on the CPU; UserError where it is not a checkpoint of ours."""
    if not path.is_file():
        raise UserError(f"there is no checkpoint {str(path)!r}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path} cannot be read as a checkpoint: {first_line(error)}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} is not a roadmap-tune checkpoint of format {FORMAT}")
    return state


def experiment_of(state: Mapping[str, Any], path: Path) -> Experiment:
    """What was trained; UserError where another version wrote the checkpoint, whose settings are not today's."""
    try:
        return Experiment.model_validate_json(state["experiment"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} was written by another version of roadmap-tune: {where}: {first['msg']}") from None


def random_states() -> dict[str, Any]:
    """Every global generator a training draws from, as tensors and numbers."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, cached],
        "python": [version, list(internal), gauss],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Puts back what `random_states` took; the generators of GPUs that are not here are left out."""
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
