"""The model card in an export, in the form of Hugging Face's: front matter, then what its reader must know."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from trainables.console import readable_size
from trainables.data import summary
from trainables.exported.model import GRAPH, WEIGHTS
from trainables.exported.writing import Written

PACKAGES = ("roadmap-tune", "torch", "torchvision", "timm", "onnx", "onnxruntime", "numpy", "pillow")
LICENCE = "# license: yours to name; the pictures and the weights that the training began with have terms of their own"
USE = """\
    from PIL import Image
    from trainables.exported import load_model

    model = load_model("{folder}")                                  # numpy, PIL and onnxruntime alone
    rows = model.embed([Image.open("a.jpg"), Image.open("b.png")])  # float32 (2, {dims}), of length 1
    cosine = rows[0] @ rows[1]

Without this project: `model.onnx` takes `pixels`, uint8 (N, 3, {height}, {width}) RGB, normalises them itself, and
gives `embeddings`; `transform.json` says how a picture is resized and cropped before. Nothing in this folder is code,
nothing is a pickle."""


@dataclass(frozen=True)
class Origin:
    """What is said of where a model comes from. name: of the model; chosen, repeat: paragraphs of Markdown."""

    name: str
    chosen: Sequence[str]
    repeat: Sequence[str]
    measured: Mapping[str, float]  # "test/map_at_r" -> value, for machines that read cards


def of_training(written: Written, checkpoint: Path) -> Origin:
    """Of one training that nobody compared with others."""
    return Origin(
        written.experiment.experience.experiment_name,
        ["A single training, of no search. `roadmap-train evaluate` says what it reaches; nothing here does."],
        [f"    roadmap-train export {checkpoint} --out {written.folder}", "`experiment.json` is the training, whole."],
        {},
    )


def card(written: Written, origin: Origin) -> str:
    """The whole README.md."""
    experiment, dataset = written.experiment, written.dataset
    height, width = ("H", "W") if written.size is None else written.size
    backbone = experiment.model.kwargs.get("backbone_name", experiment.model.name)
    paragraphs = [
        f"---\n{LICENCE}\n{_front(written, origin)}---",
        f"# {origin.name}",
        f"Embeddings of pictures for image retrieval: `{backbone}` with {written.dims} dimensions "
        f"({written.parameters:,} parameters), trained on `{experiment.dataset.name}` for {written.epoch} epochs. The "
        "nearer two pictures' embeddings by cosine, the more alike the pictures are in what the training told apart.",
        "## Intended use",
        "To find pictures of the same kind among pictures like those it was trained on, also of kinds that were not "
        "among them. It classifies nothing, says nothing of pictures of another domain, and was not made to recognise "
        "people.",
        "## How good it is, and how it was chosen",
        *origin.chosen,
        "## Data",
        f"`{experiment.dataset.name}`, fingerprint `{dataset.fingerprint}`:",
        "\n".join(f"- {line}" for line in (*summary(dataset), *_held(written))),
        "## The files",
        f"- `{GRAPH}` ({_size(written, GRAPH)}): the network with its normalisation, any number of pictures at a time\n"
        f"- `{WEIGHTS}` ({_size(written, WEIGHTS)}): its weights, for `trainables.exported.load_network`\n"
        "- `transform.json`: how a picture becomes its input; `experiment.json`: the complete training",
        f"Proved when it was written: {written.verified.sentence()}. Fingerprint `{written.fingerprint}`.",
        "## Use",
        USE.format(folder=written.folder.name, dims=written.dims, height=height, width=width),
        "## Repeat it",
        *origin.repeat,
        "## Versions",
        ", ".join([f"Python {platform.python_version()}", *map(package_version, PACKAGES)]),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _front(written: Written, origin: Origin) -> str:
    data = written.experiment.dataset.name
    front: dict[str, Any] = {
        "library_name": "onnx",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["image-retrieval", "metric-learning", "roadmap"],
        "datasets": [data],
    }
    if origin.measured:
        metrics = [
            {"type": key.rpartition("/")[2], "name": key, "value": round(value, 4)}
            for key, value in origin.measured.items()
        ]
        result = {"task": {"type": "image-retrieval"}, "dataset": {"type": data, "name": data}, "metrics": metrics}
        front["model-index"] = [{"name": origin.name, "results": [result]}]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True)


def _held(written: Written) -> list[str]:
    """What of the train split this training did not train on."""
    experience = written.experiment.experience
    if not experience.validates:
        return ["trained on the whole train split"]
    folds = f"fold {experience.split} of {experience.kfold}"
    share = folds if experience.holdout is None else f"{experience.holdout:g} of it"
    return [f"held out of the train split for validation: {share}, by {experience.held_unit}"]


def _size(written: Written, name: str) -> str:
    return readable_size(written.bytes[name])


def package_version(package: str) -> str:
    """NAME VERSION, as it is installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # run from a checkout
        return f"{package} from source"
