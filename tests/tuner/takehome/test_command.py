"""export, index and search as a user meets them; the registered model answers over HTTP what the export gives."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.ports import free_port
from tests.tuner.takehome.conftest import train, write_sweep
from trainables.exported import load_model
from tuner import store
from tuner.__main__ import main
from tuner.sweep import Sweep
from tuner.takehome.registry import Entry, carried, register
from tuner.takehome.served import CARRIED

PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def swept(sweep: Sweep) -> Sweep:
    """Two trials, the second the best; its checkpoint is real."""
    write_sweep(sweep, {0: [0.1], 1: [0.1, 0.2]})
    train(sweep, 1, 2)
    return sweep


def pictures(folder: Path) -> list[Path]:
    """Five of colour and noise."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for number in range(5):
        pixels = generator.integers(0, 60, (40, 50, 3)) + generator.integers(0, 190, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "SWEEP"], "there is no sweep 'small'"),
        (["export", "SWEEP", "--address", "127.0.0.1:1"], "export takes no --address or --cluster: it is made on"),
        (["index", "nowhere", "--model", "x"], "there is no folder 'nowhere'"),
        (["index", ".", "--model", "nowhere"], "nowhere is not an exported model: transform.json"),
        (["index", ".", "--model", "x", "--cluster", "c.yaml"], "index takes no --address or --cluster"),
        (["search", "nowhere", "x.png"], "nowhere is not an index of `roadmap-tune index`"),
        (["search", "nowhere", "x.png", "--k", "0"], "--k=0: the number of neighbours"),
        (["search", "nowhere", "x.png", "--out", "gone/x.png"], "--out='gone/x.png': a PNG in a folder that is there"),
    ],
)
def test_mistakes_exit_with_2_and_leave_nothing(
    words: list[str],
    said: str,
    sweep_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(sweep_file) if word == "SWEEP" else word for word in words]) == 2
    told = capsys.readouterr().err
    assert said in told and told.startswith("roadmap-tune: ") and told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_folder_that_is_no_export_is_left_alone(
    swept: Sweep, sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    assert main(["export", str(sweep_file), "--out", str(tmp_path / "letters")]) == 2
    assert "is there and is not an export" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["one.txt"]


def test_without_a_server_the_export_is_whole(
    swept: Sweep, sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(sweep_file)]) == 0  # the store was never made
    told = capsys.readouterr()
    assert "warning: not registered in MLflow: there is no store at sqlite:///" in told.err
    export = swept.folder / "export"
    assert "not confirmed: trial 0001 after epoch 2" in told.out and f"exported: {export}: 128 dimensions" in told.out
    assert load_model(export).dims == 128
    card = (export / "README.md").read_text()
    assert card.startswith("---\n# license: yours to name") and "**Not confirmed**: trial 0001 after epoch 2" in card
    for part in ("val/map_at_r", "place 1 of 2", "the presets (trial 0000): 0.1000", "raw pixels", "made-by-tests",
                 "120 test images of 24 classes", "roadmap-train dataset", "onnxruntime"):  # fmt: skip
        assert part in card
    opens_alone(export, tmp_path / CARRIED)
    away = register(Entry(export, "small", "", {}, {}, True), "http://127.0.0.1:9")
    assert not away.version and away.trouble.startswith("http://127.0.0.1:9: ") and "\n" not in away.trouble


def opens_alone(export: Path, package: Path) -> None:
    """What travels with a registered model opens it without torch and without this project."""
    carried(package)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'torchvision', 'trainables', 'tuner', 'faiss')))\n"
        f"from {CARRIED}.exported.model import ExportedModel\n"
        "from PIL import Image\n"
        f"print(ExportedModel({str(export)!r}).embed([Image.new('RGB', (9, 9))]).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=package.parent, capture_output=True, text=True, timeout=60)
    assert done.stdout == "(1, 128)\n", done.stderr


def answer(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as page:
        return json.load(page)


def refused(address: str, text: str) -> str:
    with pytest.raises(urllib.error.HTTPError) as error:
        answer(address, {"dataframe_records": [{"image": base64.b64encode(text.encode()).decode()}]})
    assert error.value.code == 400
    return error.value.read().decode()


@pytest.mark.slow
def test_the_registered_model_is_served(
    swept: Sweep,
    sweep_file: Path,
    tmp_path: Path,
    made_store: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", str(sweep_file), "--trial", "1", "--out", str(tmp_path / "taken")]) == 0
    told = capsys.readouterr()
    assert "registered in MLflow: small version 1, alias candidate" in told.out and "warning" not in told.err
    model = load_model(tmp_path / "taken")
    client, _ = store.connect(swept.tracking, swept.name)
    version = client.get_model_version_by_alias("small", "candidate")
    expected = {"sweep": "small", "trial": "0001", "confirmed": "false", "fingerprint": model.fingerprint}
    assert expected.items() <= version.tags.items() and float(version.tags["value"]) == 0.2
    assert version.description.startswith("not confirmed: trial 0001")
    files = pictures(tmp_path / "pictures")
    rows = model.embed([Image.open(path) for path in files])
    as_text = [base64.b64encode(path.read_bytes()).decode() for path in files]
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # from elsewhere, without this project on the path: what it needs travels with it
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PATH": f"{PROGRAMS}:{environment['PATH']}", "MLFLOW_TRACKING_URI": store.absolute(swept.tracking)}
    serve = ["mlflow", "models", "serve", "-m", "models:/small@candidate", "--env-manager", "local"]
    process = subprocess.Popen(
        [str(PROGRAMS / "mlflow"), *serve[1:], "--host", "127.0.0.1", "--port", str(port)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until_it_answers(process, address)
        for body in (
            {"dataframe_split": {"columns": ["image"], "data": [[text] for text in as_text]}},
            {"dataframe_records": [{"image": text} for text in as_text]},
            {"inputs": {"image": as_text}},
        ):
            found = [row["embedding"] for row in answer(address, body)["predictions"]]
            assert np.abs(np.array(found) - rows).max() < 1e-5
        assert "image 0 is not an image" in refused(address, "no picture")
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate(timeout=30)
    assert "Traceback" not in output
    assert not psutil.wait_procs(children, timeout=10)[1]
    index_and_search(files, tmp_path, monkeypatch, capsys)


def wait_until_it_answers(process: "subprocess.Popen[str]", address: str) -> None:
    until = time.monotonic() + 120
    while True:
        assert time.monotonic() < until and process.poll() is None
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)


def index_and_search(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pictures are indexed by the export, and each finds itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures" / "torn.png").write_bytes(files[0].read_bytes()[:60])
    assert main(["index", "pictures", "--model", "taken"]) == 0
    told = capsys.readouterr()
    assert "unreadable: pictures/torn.png cannot be decoded" in told.err
    assert "indexed: pictures.index: 5 pictures, 128 dimensions" in told.out and "1 could not be read" in told.out
    assert main(["search", "pictures.index", "pictures/2.png", "pictures/3.png", "--k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("pictures/")] == ["pictures/2.png", "pictures/3.png"]
    assert [lines[1].split(), lines[5].split()] == [["1", "1.0000", "2.png"], ["1", "1.0000", "3.png"]]
    drawn = Image.open(io.BytesIO((tmp_path / "neighbours.png").read_bytes()))
    assert drawn.format == "PNG" and drawn.width > drawn.height > 300
    (tmp_path / "pictures" / "2.png").rename(tmp_path / "away.png")
    assert main(["search", "pictures.index", "away.png", "--k", "1"]) == 0
    assert "warning: 1 of them cannot be drawn any more" in capsys.readouterr().err
