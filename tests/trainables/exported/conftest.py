"""An export of a network that was never trained: what matters here is that nothing of it changes on the way."""

from pathlib import Path

import pytest

from trainables import Training, compose
from trainables.console import Bars
from trainables.exported.writing import Written, export


def write_checkpoint(path: Path, overrides: list[str]) -> Path:
    """A training's checkpoint before its first epoch."""
    training = Training(compose(overrides))
    training.save(path)
    training.close()
    return path


@pytest.fixture(scope="session")
def written(tiny_emoji: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """conv4 of seed 5, exported."""
    folder = tmp_path_factory.mktemp("exported")
    overrides = [f"dataset.kwargs.data_dir={tiny_emoji}", "experience.seed=5", "dataset.sampler.kwargs.batch_size=16"]
    checkpoint = write_checkpoint(folder / "last.ckpt", overrides)
    return export(checkpoint, folder / "export", lambda made: f"{made.dims} dimensions", Bars())
