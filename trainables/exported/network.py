"""The network of a checkpoint or of an export, in evaluation; no data set is touched, no weight is fetched."""

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError

from trainables import checkpoint
from trainables.building import build_model, without_downloads
from trainables.errors import UserError
from trainables.experiment import Experiment
from trainables.exported.model import EXPERIMENT, WEIGHTS
from trainables.models import RetrievalNet


def of_checkpoint(path: Path) -> tuple[Experiment, RetrievalNet, int]:
    """What was trained, the network on the CPU, and after how many epochs. UserError for what is no checkpoint."""
    state = checkpoint.read(path)
    experiment = checkpoint.experiment_of(state, path)
    net = _built(experiment)
    try:
        net.load_state_dict(state["model"])
    except RuntimeError as error:
        raise UserError(f"{path} holds another network: {' '.join(str(error).split())}") from None
    return experiment, net, int(state["epoch"])


def from_folder(folder: Path) -> RetrievalNet:
    """The network of an export. UserError where its weights or its Experiment are not there or do not fit."""
    from safetensors.torch import load_file

    try:
        experiment = Experiment.model_validate_json((folder / EXPERIMENT).read_bytes())
        net = _built(experiment)
        net.load_state_dict(load_file(folder / WEIGHTS))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(f"{folder / EXPERIMENT} is of another version: {where}: {error.errors()[0]['msg']}") from None
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} is not an exported model: {' '.join(str(error).split())}") from None
    return net


def _built(experiment: Experiment) -> RetrievalNet:
    return build_model(without_downloads(experiment)).eval()
