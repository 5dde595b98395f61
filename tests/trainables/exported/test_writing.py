"""An export: its files, its numbers against the network's, what is refused, and that a failure leaves nothing."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.trainables.data.miniatures import WRITERS
from trainables import checkpoint, compose
from trainables.building import build_dataset
from trainables.console import Bars
from trainables.data import build_transform
from trainables.errors import UserError
from trainables.exported import load_model, load_network, verification
from trainables.exported.writing import Written, check_out, export, told_steps
from trainables.models import RetrievalNet
from trainables.registry import DATASETS


def exported(net: RetrievalNet, file: Path, size: int | None) -> None:
    """Network and graph agree on noise, one picture or several."""
    from trainables.exported.writing import _Whole, _write_graph

    mean = torch.full((3,), 0.5)
    _write_graph(file, _Whole(net, mean, mean).eval(), None if size is None else (size, size))
    import onnxruntime

    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    for count, height in ((1, size or 40), (3, size or 64)):
        pixels = torch.randint(0, 256, (count, 3, height, size or 48), dtype=torch.uint8)
        with torch.inference_mode():
            expected = net((pixels.float() / 255 - 0.5) / 0.5)
        found = session.run(None, {"pixels": pixels.numpy()})[0]
        assert found.shape == expected.shape and np.abs(found - expected.numpy()).max() < 1e-5


def test_the_folder_is_whole(written: Written) -> None:
    names = {path.name for path in written.folder.iterdir()}
    assert names == {"model.safetensors", "model.onnx", "transform.json", "experiment.json", "README.md"}
    assert (written.folder / "README.md").read_text() == "128 dimensions"
    assert [path.name for path in written.folder.parent.iterdir() if path.name.startswith(".")] == []
    state = checkpoint.read(written.folder.parent / "last.ckpt")
    assert json.loads((written.folder / "experiment.json").read_text()) == json.loads(state["experiment"])
    weights = load_file(written.folder / "model.safetensors")
    assert set(weights) == set(state["model"])
    assert all(torch.equal(weights[key], state["model"][key]) for key in weights)
    graph = onnx.load(written.folder / "model.onnx")
    assert not any(tensor.external_data for tensor in graph.graph.initializer)


def test_the_transform_is_what_the_evaluation_did(written: Written) -> None:
    told = json.loads((written.folder / "transform.json").read_text())
    assert told["steps"] == [
        {"resize": [32], "max_size": None, "interpolation": "bilinear"},
        {"center_crop": [32, 32]},
    ]
    assert told["mean"] == [0.5] * 3 and "uint8 (N, 3, 32, 32)" in told["input"]


def test_the_numbers_are_the_networks(written: Written) -> None:
    experiment = written.experiment
    images = build_dataset(experiment).train()
    transform = build_transform(experiment.transform.test)
    net = load_network(written.folder)
    assert not net.training
    pixels = [images.source[row] for row in range(5)]
    with torch.inference_mode():
        expected = net(transform(pixels)).numpy()
    pictures = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in pixels]
    found = load_model(written.folder).embed(pictures, batch=2)
    assert found.dtype == np.float32 and found.shape == (5, 128)
    assert np.abs(found - expected).max() < 1e-5  # pictures of 64 pixels to 32: PIL and torchvision agree to the byte
    assert written.verified.images == 32 and written.verified.difference < 1e-6 and written.verified.cosine > 0.9999


@pytest.mark.parametrize("pooling", ["max", "gem"])
def test_pictures_of_any_size(pooling: str, tmp_path: Path) -> None:
    exported(RetrievalNet("conv4", pooling=pooling, embed_dim=8).eval(), tmp_path / "model.onnx", None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "size"),
    [
        ("conv4", {"pooling": "avg", "norm_features": True, "embed_dim": [16, 8]}, 32),
        ("tf_efficientnet_lite0", {"pooling": "gem"}, 64),
        ("resnet18", {"pooling": "max", "without_fc": True}, 64),
        ("vit_tiny_patch16_224", {"pooling": "gem", "img_size": 32}, 32),
    ],
)
def test_backbones_and_heads(name: str, settings: dict[str, object], size: int, tmp_path: Path) -> None:
    exported(RetrievalNet(name, **settings).eval(), tmp_path / "model.onnx", size)


def test_files_are_opened_as_a_user_opens_them(written: Written, tmp_path: Path) -> None:
    images = DATASETS["folder"](str(WRITERS["folder"](tmp_path))).train()
    found = verification.verify(
        load_network(written.folder),
        build_transform(written.experiment.transform.test),
        load_model(written.folder),
        images,
    )
    assert found.images == 32 and found.difference < 1e-6 and 0.999 < found.cosine <= 1.0001


def test_a_graph_that_differs_is_not_exported(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "LIMIT", 0.0)
    with pytest.raises(UserError, match=r"not exported: model\.onnx against the network"):
        export(written.folder.parent / "last.ckpt", tmp_path / "out", lambda made: "", Bars())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"RandomHorizontalFlip": {}, "ToTensor": None}, "transform.test.RandomHorizontalFlip is random"),
        ({"Resize": {"size": 32, "antialias": False}, "ToTensor": None}, "antialias=False"),
        ({"Resize": {"size": 32, "interpolation": 0}, "ToTensor": None}, "interpolation=nearest"),
    ],
)
def test_a_transform_that_cannot_be_repeated_is_refused(steps: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        told_steps(build_transform(steps))


def test_only_an_export_is_replaced(written: Written, tmp_path: Path) -> None:
    check_out(tmp_path / "new")
    check_out(tmp_path)
    check_out(written.folder)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="is not an export: name another folder"):
        check_out(tmp_path)
    with pytest.raises(UserError, match="is not an export"):
        export(tmp_path / "none.ckpt", tmp_path / "letter.txt", lambda made: "", Bars())
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_without_its_data_nothing_is_exported(written: Written, tmp_path: Path) -> None:
    state = checkpoint.read(written.folder.parent / "last.ckpt")
    gone = compose(["dataset=sop", f"dataset.kwargs.data_dir={tmp_path}"])
    checkpoint.write(tmp_path / "last.ckpt", {**state, "experiment": gone.model_dump_json()})
    with pytest.raises(UserError, match="is missing"):
        export(tmp_path / "last.ckpt", tmp_path / "out", lambda made: "", Bars())
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
