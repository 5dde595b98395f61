"""A checkpoint -> a folder that anybody can open: weights, a graph that is proved equal, the transform, a card.

The folder appears whole or not at all, and only where ONNX Runtime gives the network's embeddings on real pictures.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from trainables.building import build_dataset
from trainables.console import Bars, near, readable_size
from trainables.data import BatchTransform, RetrievalDataset, build_transform
from trainables.data.geometry import CenterCrop, Resize
from trainables.errors import UserError, first_line
from trainables.experiment import Experiment
from trainables.exported import load_model, network
from trainables.exported.model import (
    CARD,
    EXPERIMENT,
    FILTERS,
    FORMAT,
    GRAPH,
    INPUT,
    OUTPUT,
    TRANSFORM,
    WEIGHTS,
    is_export,
)
from trainables.exported.place import check_place, replaced
from trainables.exported.verification import Verified, verify
from trainables.models import RetrievalNet


@dataclass(frozen=True)
class Written:
    """An export: what a card says of it."""

    folder: Path
    experiment: Experiment
    dataset: RetrievalDataset
    epoch: int
    dims: int
    parameters: int
    size: tuple[int, int] | None  # height and width of what the graph takes; None: any
    fingerprint: str
    verified: Verified
    bytes: dict[str, int]  # of each of its files but the card

    def lines(self) -> list[str]:
        """What a command prints of it."""
        size = readable_size(sum(self.bytes.values()))
        facts = f"{self.dims} dimensions, {self.parameters:,} parameters, {size}"
        return [self.verified.sentence(), f"exported: {near(self.folder)}: {facts}"]


def check_out(folder: Path) -> None:
    """UserError where the folder is there and holds something else than an export."""
    check_place(folder, "an export", is_export)


def export(path: Path, folder: Path, card: Callable[[Written], str], bars: Bars) -> Written:
    """Writes the network of the checkpoint at `path` into `folder`, in the place of an earlier export.

    card: what README.md is to say. UserError where the data set is not here, for a transform that PIL cannot repeat,
    where the graph's embeddings differ.
    """
    check_out(folder)
    experiment, net, epoch = network.of_checkpoint(path)
    transform = build_transform(experiment.transform.test)
    steps = told_steps(transform)
    dataset = build_dataset(experiment)
    dataset.ensure(bars.update)
    size = _size(transform)
    with replaced(folder) as made:
        bars.line(f"making {GRAPH} of {path}")
        _write(made, experiment, net, transform, steps, size)
        model = load_model(made)
        written = Written(
            folder=folder,
            experiment=experiment,
            dataset=dataset,
            epoch=epoch,
            dims=net.embed_dim,
            parameters=sum(parameter.numel() for parameter in net.parameters()),
            size=size,
            fingerprint=model.fingerprint,
            verified=verify(net, transform, model, dataset.train()),
            bytes={file.name: file.stat().st_size for file in made.iterdir()},
        )
        (made / CARD).write_text(card(written))
    return written


def told_steps(transform: BatchTransform) -> list[dict[str, Any]]:
    """The geometry of an evaluation as `transform.json` has it. UserError for what PIL cannot repeat."""
    told: list[dict[str, Any]] = []
    for step in transform.steps:
        if isinstance(step, CenterCrop):
            told.append({"center_crop": list(step.step.size)})
        elif isinstance(step, Resize):
            told.append(_resize(step))
        else:
            raise UserError(f"transform.test.{type(step).__name__} is random: an export has the same pixels each time")
    return told


def _resize(step: Resize) -> dict[str, Any]:
    mode, size = step.step.interpolation, step.step.size
    interpolation = Image.Resampling(mode).name.lower() if isinstance(mode, int) else getattr(mode, "value", mode)
    if interpolation not in FILTERS or step.step.antialias is False or size is None:
        raise UserError(
            f"transform.test.Resize: interpolation={interpolation}, antialias={step.step.antialias}, size={size} "
            f"cannot be exported: a size, {' or '.join(FILTERS)}, and antialias can"
        )
    return {"resize": list(size), "max_size": step.step.max_size, "interpolation": interpolation}


class _Whole(nn.Module):
    """uint8 pixels (B, 3, h, w) -> embeddings: the normalisation inside."""

    scale: Tensor
    shift: Tensor

    def __init__(self, net: RetrievalNet, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("scale", 1.0 / (255.0 * std).view(1, 3, 1, 1))
        self.register_buffer("shift", -(mean / std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        embeddings: Tensor = self.net(pixels.float() * self.scale + self.shift)
        return embeddings


def _write(
    folder: Path,
    experiment: Experiment,
    net: RetrievalNet,
    transform: BatchTransform,
    steps: list[dict[str, Any]],
    size: tuple[int, int] | None,
) -> None:
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in net.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    mean, std = transform.statistics
    shape = "3, H, W" if size is None else f"3, {size[0]}, {size[1]}"
    told = {
        "format": FORMAT,
        "input": f"{INPUT}: uint8 (N, {shape}), RGB; {GRAPH} normalises with mean and std",
        "output": f"{OUTPUT}: float32 (N, {net.embed_dim}), of length 1",
        "steps": steps,
        "mean": mean,
        "std": std,
    }
    (folder / TRANSFORM).write_text(json.dumps(told, indent=2) + "\n")
    (folder / EXPERIMENT).write_text(experiment.model_dump_json(indent=2) + "\n")
    _write_graph(folder / GRAPH, _Whole(net, torch.tensor(mean), torch.tensor(std)).eval(), size)


def _write_graph(file: Path, whole: nn.Module, size: tuple[int, int] | None) -> None:
    height, width = size or (64, 96)
    free = {0: torch.export.Dim("batch", min=1)}
    if size is None:
        free |= {2: torch.export.Dim("height", min=16), 3: torch.export.Dim("width", min=16)}
    example = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    try:
        with _quiet():
            program = torch.onnx.export(
                whole,
                (example,),
                dynamo=True,
                dynamic_shapes=(free,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                external_data=False,
                verbose=False,
            )
            assert program is not None
            program.save(file)
    except Exception as error:  # whatever the exporter meets in a backbone that it has never seen
        raise UserError(f"the network cannot be written as ONNX: {type(error).__name__}: {first_line(error)}") from None


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporter tells of its own passes, by the dozen."""
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in noisy]
    for logger in noisy:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(noisy, before, strict=True):
            logger.setLevel(level)


def _size(transform: BatchTransform) -> tuple[int, int] | None:
    """Height and width of every shaped picture; None where they differ."""
    if not transform.equal_sizes:
        return None
    shaped = transform.shaped(torch.zeros(3, 96, 64, dtype=torch.uint8))
    return int(shaped.shape[1]), int(shaped.shape[2])
