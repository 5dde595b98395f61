"""Models that were taken home, and indexes of pictures made with them.

from trainables.exported import load_model
embeddings = load_model("runs/emoji/export").embed([PIL.Image.open("photo.jpg")])     # (1, D), of length 1
"""

from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import UserError

if TYPE_CHECKING:
    from trainables.exported.model import ExportedModel
    from trainables.models import RetrievalNet

__all__ = ["load_model", "load_network"]


def load_model(folder: str | Path, threads: int | None = None) -> "ExportedModel":
    """The exported model in a folder, on ONNX Runtime; UserError where there is none. threads: None: every core."""
    from trainables.exported.model import ExportedModel, NoExport

    try:
        return ExportedModel(Path(folder).expanduser(), threads)
    except NoExport as error:
        raise UserError(str(error)) from None


def load_network(folder: str | Path) -> "RetrievalNet":
    """The same as a network of torch, in evaluation, to train it further; UserError where there is none.

    It takes normalised images (B, 3, h, w): `transform.json` has mean and std.
    """
    from trainables.exported.network import from_folder

    return from_folder(Path(folder).expanduser())
