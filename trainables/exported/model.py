"""A network that was taken home: pictures -> embeddings, by ONNX Runtime, from a folder of weights, a graph and JSON.

Nothing in the folder is code and nothing is unpickled. This file and `pictures` need numpy, PIL and onnxruntime alone:
they travel with the model to where the rest of the project is not, so their imports are relative.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..pictures import rgb

FORMAT = "roadmap-tune export 1"
GRAPH, WEIGHTS, TRANSFORM, EXPERIMENT, CARD = (
    "model.onnx",
    "model.safetensors",
    "transform.json",
    "experiment.json",
    "README.md",
)
INPUT, OUTPUT = "pixels", "embeddings"
# within one level of 255 what torchvision makes of uint8 with antialias; the others it rounds in its own way
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
BATCH = 64


class NoExport(ValueError):
    """A folder that holds no model of this format, in one line."""


class ExportedModel:
    """The model in a folder. threads: of ONNX Runtime; None: every core. Raises NoExport.

    dims: of an embedding. fingerprint: equal where two folders give the same embeddings.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        self.folder = Path(folder)
        self.transform, told = _transform(self.folder)
        graph = _read(self.folder / GRAPH)
        self.fingerprint = hashlib.sha256(hashlib.sha256(told).digest() + hashlib.sha256(graph).digest()).hexdigest()
        self._session = _session(self.folder, graph, threads)
        self.dims = int(self._session.get_outputs()[0].shape[1])

    def shaped(self, picture: Image.Image) -> np.ndarray:
        """One picture of any size and mode -> uint8 (3, h, w), as the evaluation of its training made them."""
        image = Image.fromarray(rgb(picture))
        for step in self.transform["steps"]:
            image = _resized(image, step) if "resize" in step else _cropped(image, *step["center_crop"])
        return np.asarray(image).transpose(2, 0, 1)

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (B, 3, h, w) -> float32 (B, dims) of length 1: the graph normalises the pixels itself."""
        embeddings: np.ndarray = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(pixels)})[0]
        return embeddings

    def embed(self, pictures: Iterable[Image.Image], batch: int = BATCH) -> np.ndarray:
        """Pictures -> float32 (N, dims) of length 1, `batch` at a time. Raises what PIL raises of a damaged one."""
        return self.rows(map(self.shaped, pictures), batch)

    def rows(self, shaped: Iterable[np.ndarray], batch: int = BATCH) -> np.ndarray:
        """The same of pictures that went through `shaped`, whose sizes may differ where its last step is no crop."""
        rows = [self.forward(np.stack(alike)) for alike in _alike(shaped, batch)]
        return np.concatenate(rows) if rows else np.empty((0, self.dims), np.float32)


def is_export(folder: Path) -> bool:
    """Whether the folder was written as an export, of any version."""
    try:
        said = json.loads((folder / TRANSFORM).read_text())["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return str(said).startswith(FORMAT.rpartition(" ")[0])


def _alike(shaped: Iterable[np.ndarray], most: int) -> Iterator[list[np.ndarray]]:
    """Neighbours of one size together, at most so many."""
    batch: list[np.ndarray] = []
    for pixels in shaped:
        if batch and (len(batch) == most or batch[0].shape != pixels.shape):
            yield batch
            batch = []
        batch.append(pixels)
    if batch:
        yield batch


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NoExport(f"{file.parent} is not an exported model: {file.name}: {error.strerror}") from None


def _transform(folder: Path) -> tuple[dict[str, Any], bytes]:
    told = _read(folder / TRANSFORM)
    try:
        found = json.loads(told)
        if found["format"] != FORMAT:
            raise NoExport(f"{folder} is {found['format']!r}, and this version reads {FORMAT!r}")
        for step in found["steps"]:
            _check_step(step)
    except NoExport:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoExport(f"{folder / TRANSFORM} cannot be read: {type(error).__name__}: {error}") from None
    return found, told


def _check_step(step: dict[str, Any]) -> None:
    if "center_crop" in step:
        sizes = list(step["center_crop"])
        right = len(sizes) == 2
    else:
        sizes, longest = list(step["resize"]), step["max_size"]
        FILTERS[step["interpolation"]]
        right = len(sizes) == 1 or (len(sizes) == 2 and longest is None)
        sizes += [] if longest is None else [longest]
    if not right or not all(type(size) is int and 0 < size < 65536 for size in sizes):
        raise ValueError(f"sizes of {step}")


def _session(folder: Path, graph: bytes, threads: int | None) -> Any:
    """From bytes: a graph that names another file for its weights has none to read."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it says, its error says
    # threads that spin while they wait take the cores from those that decode the next pictures
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, some of which are RuntimeError and some are not
        raise NoExport(f"{folder / GRAPH} cannot be opened: {str(error).splitlines()[0]}") from None
    faces = [(one.name, one.type, len(one.shape)) for one in (*session.get_inputs(), *session.get_outputs())]
    if faces != [(INPUT, "tensor(uint8)", 4), (OUTPUT, "tensor(float)", 2)] or not _is_count(session):
        raise NoExport(f"{folder / GRAPH} has other inputs and outputs: {faces}")
    return session


def _is_count(session: Any) -> bool:
    return isinstance(session.get_outputs()[0].shape[1], int)


def _resized(image: Image.Image, step: dict[str, Any]) -> Image.Image:
    """One size: of the shorter side, the longer one at most `max_size`; two: height and width."""
    sizes, longest = step["resize"], step["max_size"]
    if len(sizes) == 2:
        height, width = sizes
    else:
        short, long = sizes[0], int(sizes[0] * max(image.size) / min(image.size))
        if longest is not None and long > longest:
            short, long = int(longest * short / long), longest
        width, height = (short, long) if image.width <= image.height else (long, short)
    return image.resize((width, height), FILTERS[step["interpolation"]])


def _cropped(image: Image.Image, height: int, width: int) -> Image.Image:
    """The middle; black around what is smaller."""
    missing = max(0, width - image.width), max(0, height - image.height)
    if any(missing):
        larger = Image.new("RGB", (image.width + missing[0], image.height + missing[1]))
        larger.paste(image, (missing[0] // 2, missing[1] // 2))
        image = larger
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
