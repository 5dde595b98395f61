"""A folder as whoever gets it opens it: geometry against torchvision's, every kind of picture, what is no export."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from trainables.data import build_transform, read_image
from trainables.errors import UserError
from trainables.exported import load_model, load_network
from trainables.exported.model import FORMAT, ExportedModel, _check_step
from trainables.exported.writing import Written, told_steps


def model_with(steps: list[dict[str, Any]]) -> ExportedModel:
    """One that shapes pictures and has no graph."""
    model = object.__new__(ExportedModel)
    model.transform = json.loads(json.dumps({"steps": steps}))
    for step in model.transform["steps"]:
        _check_step(step)
    return model


@pytest.mark.parametrize(
    "steps",
    [
        {"Resize": {"size": 32}, "CenterCrop": {"size": 32}},
        {"Resize": {"size": [40, 24]}},
        {"Resize": {"size": 30, "max_size": 50}},
        {"Resize": {"size": 33, "interpolation": 3}, "CenterCrop": {"size": [20, 31]}},
        {"CenterCrop": {"size": 90}},
    ],
)
def test_the_geometry_is_torchvisions_within_a_level(steps: dict[str, Any]) -> None:
    transform = build_transform({**steps, "ToTensor": None})
    model = model_with(told_steps(transform))
    generator = np.random.default_rng(0)
    for height, width in ((64, 64), (61, 80), (80, 61), (200, 37), (20, 33)):
        noise = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        # no overshoot beyond black and white: those two cut it off in another order
        pixels = np.array(noise.filter(ImageFilter.GaussianBlur(1)))
        expected = transform.shaped(torch.from_numpy(pixels).permute(2, 0, 1)).numpy()
        found = model.shaped(Image.fromarray(pixels))
        assert found.shape == expected.shape and found.dtype == np.uint8
        assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_picture_is_read_as_in_training(mode: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    elif mode != "RGBA":
        image = image.convert("RGB" if mode in ("P", "1", "CMYK") else "RGBA").convert(mode)
    file = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    image.save(file)
    assert np.array_equal(model_with([]).shaped(Image.open(file)), read_image(file).numpy())


def test_pictures_of_several_sizes_stay_in_order(written: Written, tmp_path: Path) -> None:
    model = load_model(written.folder)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pictures = [Image.new("RGB", (20 + 30 * place, 50), colour) for place, colour in enumerate(colours)]
    together = model.embed(pictures)
    assert np.allclose(together, np.concatenate([model.embed([picture]) for picture in pictures]), atol=1e-6)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert model.embed([]).shape == (0, model.dims)


def test_the_fingerprint_is_of_what_decides_the_embeddings(written: Written, tmp_path: Path) -> None:
    copy = shutil.copytree(written.folder, tmp_path / "copy")
    (copy / "README.md").write_text("another card")
    assert load_model(copy).fingerprint == written.fingerprint
    told = json.loads((copy / "transform.json").read_text())
    (copy / "transform.json").write_text(json.dumps({**told, "steps": told["steps"][1:]}))
    assert load_model(copy).fingerprint != written.fingerprint


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("transform.json", None, "is not an exported model: transform.json: No such file"),
        ("transform.json", "{}", "cannot be read"),
        ("transform.json", '{"format": "roadmap-tune export 9"}', "is 'roadmap-tune export 9', and this"),
        ("transform.json", f'{{"format": "{FORMAT}", "steps": [{{"center_crop": [99999999, 2]}}]}}', "sizes of"),
        ("transform.json", f'{{"format": "{FORMAT}", "steps": [{{"resize": [1], "interpolation": "x"}}]}}', "x"),
        ("model.onnx", None, "is not an exported model: model.onnx"),
        ("model.onnx", "no graph", "model.onnx cannot be opened"),
    ],
)
def test_what_is_no_export_is_one_line(
    written: Written, tmp_path: Path, file: str, content: str | None, said: str
) -> None:
    copy = shutil.copytree(written.folder, tmp_path / "copy")
    (copy / file).unlink() if content is None else (copy / file).write_text(content)
    with pytest.raises(UserError, match=said) as refused:
        load_model(copy)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", ["model.safetensors", "experiment.json"])
def test_weights_that_are_none_are_refused(written: Written, tmp_path: Path, file: str) -> None:
    copy = shutil.copytree(written.folder, tmp_path / "copy")
    for content in (b"\x80\x04cposix\nsystem\n", None):
        (copy / file).unlink() if content is None else (copy / file).write_bytes(content)
        with pytest.raises(UserError) as refused:
            load_network(copy)
        assert "\n" not in str(refused.value)


def test_the_code_of_the_docs_gives_the_same(written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of docs/taking_home.md that do without this project."""
    lines = (Path(__file__).parents[3] / "docs" / "taking_home.md").read_text().splitlines()
    start = lines.index("    import json, onnxruntime, numpy as np")
    end = lines.index("", start)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written.folder, "export")
    for name, size in (("a.png", (90, 61)), ("b.png", (40, 70))):
        noise = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(name)
    names: dict[str, Any] = {}
    exec("\n".join(line[4:] for line in lines[start:end]), names)
    expected = load_model("export").embed([Image.open("a.png"), Image.open("b.png")])
    assert np.abs(names["rows"] - expected).max() < 1e-6
