"""What a folder from somebody else cannot do: run code, or read files that are not its own."""

import contextlib
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trainables.console import Bars
from trainables.errors import UserError
from trainables.exported import load_model, load_network
from trainables.exported.index import PictureIndex, build
from trainables.exported.writing import Written

EXPORTED = ("model.onnx", "model.safetensors", "transform.json", "experiment.json")
INDEXED = ("index.faiss", "ids.json", "meta.json")


class Runs:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def opened(export: Path, index: Path) -> None:
    """Everything that reads such folders."""
    for read in (
        lambda: load_model(export),
        lambda: load_network(export),
        lambda: PictureIndex(index).search(np.zeros((1, 128), np.float32), 1),
    ):
        with contextlib.suppress(UserError):
            read()


@pytest.mark.parametrize("file", [*EXPORTED, *INDEXED])
def test_a_planted_pickle_runs_nothing(written: Written, tmp_path: Path, file: str) -> None:
    from PIL import Image

    mark = tmp_path / "was-run"
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "one.png")
    export, index = shutil.copytree(written.folder, tmp_path / "export"), tmp_path / "index"
    build(load_model(export), tmp_path / "pictures", index, Bars())
    planted = (export if file in EXPORTED else index) / file
    assert planted.is_file()
    planted.write_bytes(pickle.dumps(Runs(mark)))
    opened(export, index)
    assert not mark.exists()
    pickle.loads(planted.read_bytes())
    assert mark.exists(), "the pickle is one that runs"


def test_a_graph_reads_no_other_file(written: Written, tmp_path: Path) -> None:
    """Weights that the graph names as a file of the machine: it is not opened."""
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(12, dtype=np.float32).tobytes())
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[3, 4])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "../secret", "offset": "0", "length": "48"}.items():
        weights.external_data.add(key=key, value=value)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 3, 1, 1])
    embeddings = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", 4])
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["embeddings"]),
    ]
    graph = helper.make_graph(nodes, "reads", [pixels], [embeddings], [weights])
    copy = shutil.copytree(written.folder, tmp_path / "export")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    assert onnx.load(copy / "model.onnx", load_external_data=False).graph.initializer[0].external_data
    with pytest.raises(UserError, match=r"model\.onnx cannot be opened"):
        load_model(copy)
