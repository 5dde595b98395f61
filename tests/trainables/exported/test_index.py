"""An index of pictures: equal to a search by hand, whole where pictures are not, and refused where it is another's."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.console import Bars
from trainables.data.files import BadImage
from trainables.errors import UserError
from trainables.exported import load_model
from trainables.exported.index import Built, PictureIndex, build, check_out, open_photo, pictures, shown
from trainables.exported.model import ExportedModel
from trainables.exported.writing import Written


@pytest.fixture(scope="session")
def model(written: Written) -> ExportedModel:
    return load_model(written.folder, threads=1)


def fill(folder: Path, count: int = 90) -> list[Path]:
    """So many pictures of noise in two folders, sizes and formats mixed."""
    generator = np.random.default_rng(3)
    paths = []
    for number in range(count):
        size = (20 + number % 3, 30, 3)
        path = folder / "ab"[number % 2] / f"{number:03d}.{('png', 'jpg', 'webp')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(path)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def built(model: ExportedModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Built]:
    """The index's folder, the pictures in it, and what was said of a folder that has other files too."""
    folder = tmp_path_factory.mktemp("index")
    paths = fill(folder / "pictures")
    (folder / "pictures" / "a" / "torn.jpg").write_bytes(paths[1].read_bytes()[:200])
    (folder / "pictures" / "empty.png").touch()
    (folder / "pictures" / "notes.txt").write_text("dear")
    (folder / "pictures" / ".hidden.png").write_text("x")
    return folder / "out", paths, build(model, folder / "pictures", folder / "out", Bars())


def test_nothing_is_dropped_in_silence(built: tuple[Path, list[Path], Built]) -> None:
    out, paths, said = built
    assert said.count == len(paths) == 90 and said.left_aside == ["notes.txt"] and said.found is None
    assert {(error.path.name, error.problem) for error in said.unreadable} == {
        ("torn.jpg", "cannot be decoded"),
        ("empty.png", "is empty"),
    }
    meta = json.loads((out / "meta.json").read_text())
    assert sorted(meta["unreadable"]) == ["a/torn.jpg", "empty.png"] and meta["count"] == 90
    assert sorted(PictureIndex(out).ids) == sorted(f"{path.parent.name}/{path.name}" for path in paths)


def test_neighbours_are_those_of_a_search_by_hand(built: tuple[Path, list[Path], Built], model: ExportedModel) -> None:
    out = built[0]
    index = PictureIndex(out)
    index.check_model(model)
    everything = model.embed([open_photo(index.images / name) for name in index.ids])
    queries = everything[[4, 40]]
    for query, neighbours in zip(queries, index.search(queries, 7), strict=True):
        cosines = everything @ query
        order = np.argsort(-cosines, kind="stable")[:7]
        assert [name for _, name in neighbours] == [index.ids[row] for row in order]
        assert [cosine for cosine, _ in neighbours] == pytest.approx(cosines[order].tolist(), abs=1e-5)
    assert len(index.search(queries[:1], 1000)[0]) == 90


def test_another_factory_says_what_it_misses(
    built: tuple[Path, list[Path], Built], model: ExportedModel, tmp_path: Path
) -> None:
    pictures = PictureIndex(built[0]).images
    said = build(model, pictures, tmp_path / "ivf", Bars(), "IVF4,Flat")
    assert said.found is not None and 0.1 < said.found <= 1
    assert PictureIndex(tmp_path / "ivf").search(model.embed([open_photo(built[1][0])]), 1)[0][0][0] > 0.999
    for factory in ("Flt", "IVF9999,Flat"):
        with pytest.raises(UserError, match=f"--factory='{factory}'.*faiss") as refused:
            build(model, pictures, tmp_path / "other", Bars(), factory)
        assert "\n" not in str(refused.value) and not (tmp_path / "other").exists()


def test_another_models_index_is_refused(
    built: tuple[Path, list[Path], Built], written: Written, tmp_path: Path
) -> None:
    other = shutil.copytree(written.folder, tmp_path / "other")
    told = json.loads((other / "transform.json").read_text())
    (other / "transform.json").write_text(json.dumps({**told, "note": "another"}))
    with pytest.raises(UserError, match="was made by another model"):
        PictureIndex(built[0]).check_model(load_model(other))


def test_where_nothing_can_be_indexed(model: ExportedModel, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError, match="there is no picture in"):
        build(model, tmp_path / "pictures", tmp_path / "out", Bars())
    (tmp_path / "pictures" / "x.png").write_text("no picture")
    with pytest.raises(UserError, match=r"none of the 1 pictures .* can be read, such as .*x\.png is not an image"):
        build(model, tmp_path / "pictures", tmp_path / "out", Bars())
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    with pytest.raises(UserError, match="is not an index"):
        check_out(tmp_path / "pictures")
    with pytest.raises(UserError, match="is not an image"):
        open_photo(tmp_path / "pictures" / "x.png")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("meta.json", "{}", "is not an index of"),
        ("meta.json", None, "is not an index of"),
        ("ids.json", '["../../secret.png"]', "not below the indexed folder"),
        ("ids.json", '["/secret.png"]', "not below the indexed folder"),
        ("ids.json", "[]", "are not of one index"),
        ("index.faiss", "no index", "cannot be read"),
    ],
)
def test_an_index_that_is_none_is_one_line(
    built: tuple[Path, list[Path], Built], tmp_path: Path, file: str, content: str | None, said: str
) -> None:
    copy = shutil.copytree(built[0], tmp_path / "copy")
    (copy / file).unlink() if content is None else (copy / file).write_text(content)
    with pytest.raises(UserError, match=said) as refused:
        PictureIndex(copy).search(np.zeros((1, 128), np.float32), 1)
    assert "\n" not in str(refused.value)


def test_a_photo_is_turned_as_its_exif_says(model: ExportedModel, tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 250
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    shaped = model.shaped(open_photo(tmp_path / "turned.jpg"))
    assert shaped[:, :8].mean() < 10 and shaped[:, -8:].mean() > 240
    assert issubclass(BadImage, UserError)


def test_every_folder_is_listed_once_and_names_are_safe_to_print(tmp_path: Path) -> None:
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "there" / "deep" / "x.png").touch()
    (tmp_path / "there" / "back").symlink_to(tmp_path / "there")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "there")
    odd = os.fsdecode(b"\xff\x1b[2J.png")
    (tmp_path / "folder" / odd).touch()
    assert pictures(tmp_path / "folder") == (["link/deep/x.png", odd], [])
    assert shown(odd) == "??[2J.png"
    assert json.loads(json.dumps([odd])) == [odd]
