"""A data set in the emoji folder's format, small and made here: every test that trains uses it."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from trainables.data.emoji import FOLDER

CLASSES, IMAGES_A_CLASS, SUPER_CLASSES, SIZE = 48, 5, 3, 64


def write_emoji(root: Path, classes: int = CLASSES, seed: int = 0, noise: float = 60) -> Path:
    """root/FOLDER: each class a colour pattern, each image a noisy copy; returns root."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    patterns = generator.integers(0, 256, (classes, 4, 4, 3))
    images, rows = [], []
    for label in range(classes):
        for instance in range(IMAGES_A_CLASS):
            picture = np.kron(patterns[label], np.ones((SIZE // 4, SIZE // 4, 1)))
            added = generator.normal(0, noise, picture.shape)
            images.append(np.clip(picture + added, 0, 255).astype(np.uint8))
            rows.append(
                [f"v{instance}/c{label:03d}.png", f"c{label:03d}", f"s{label % SUPER_CLASSES}", f"v{instance}", ""]
            )
    np.save(folder / "images.npy", np.stack(images))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "super_label", "vendor", "codepoint"])
        writer.writerows(rows)
    (folder / "meta.json").write_text(json.dumps({"format": 1, "sha256": "made-by-tests"}))
    return root


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", help="keep there what the browser's tests look at")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first: two processes that share the files then end at about the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def tiny_emoji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder to give as dataset.kwargs.data_dir or ROADMAP_TUNE_DATA."""
    return write_emoji(tmp_path_factory.mktemp("data"))


@pytest.fixture
def tiny(tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides of a training of seconds; the data set is found by the environment."""
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tiny_emoji))
    return [
        "dataset.sampler.kwargs.batch_size=16",
        "experience.max_iter=2",
        "experience.holdout=0.34",
        "experience.test_eval_freq=-1",
        "experience.num_threads=1",
    ]
