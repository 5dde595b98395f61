"""What MLflow serves: bytes of pictures -> embeddings. MLflow keeps this file with the model and runs it from there.

It needs no more of this project than the two files that travel with it, as the package of CARRIED.
"""

import base64
import binascii
import importlib
import io
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel
from PIL import Image, UnidentifiedImageError

ARTIFACT, CARRIED = "export", "retrieval_export"
COLUMN, ANSWER = "image", "embedding"


class Embedder(PythonModel):
    """A column `image` of bytes (over HTTP: base64) -> a column `embedding` of float32 vectors of length 1."""

    def load_context(self, context: Any) -> None:
        # it lies beside the model: not on the path before MLflow has loaded that
        model = importlib.import_module(f"{CARRIED}.exported.model")
        self._model = model.ExportedModel(context.artifacts[ARTIFACT])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        pictures = [_opened(row, value) for row, value in enumerate(model_input[COLUMN])]
        return pd.DataFrame({ANSWER: [row.tolist() for row in self._model.embed(pictures)]})


def _opened(row: int, value: Any) -> Image.Image:
    """MlflowException, a 400 of the server, where it is no picture."""
    try:
        image = Image.open(io.BytesIO(_data(value)))
        image.load()
    except UnidentifiedImageError:
        told = "is not an image"
    except (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError) as error:
        told = f"cannot be opened: {next(iter(str(error).splitlines()), type(error).__name__)}"
    else:
        return image
    raise MlflowException(f"image {row} {told}", INVALID_PARAMETER_VALUE)


def _data(value: Any) -> bytes:
    """MLflow decodes the base64 of some forms of request and leaves that of others; no picture looks like base64."""
    if isinstance(value, str):
        return base64.b64decode(value, validate=True)
    try:
        return base64.b64decode(bytes(value), validate=True)
    except binascii.Error:
        return bytes(value)


set_model(Embedder())
