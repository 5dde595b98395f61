"""The probe: the time of an epoch from a few batches, nothing written, nothing left behind."""

import itertools
from pathlib import Path

import pytest
import torch

from trainables import compose, probe
from trainables.training import Training


def test_an_epoch_is_its_batches(tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A clock that ticks once whenever it is asked: each batch takes 1, so an epoch takes its batches."""
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tiny_emoji))
    overrides = ["dataset.sampler.kwargs.batch_size=4", "experience.holdout=0.34", "experience.val_eval_freq=1"]
    experiment = compose([*overrides, "dataset.sampler.kwargs.samples_per_class=2", "experience.num_threads=1"])
    training = Training(experiment, device="cpu")
    training.epoch()
    training.save(tmp_path / "whole.ckpt")
    batches = len(training._loader)
    assert batches > probe.SKIPPED + probe.TIMED and training.validation is not None
    validation = len(training.validation.query) / min(
        len(training.validation.query), probe.EVALUATED * experiment.experience.eval_bs
    )
    ticks = itertools.count()
    monkeypatch.setattr("trainables.probe.time.perf_counter", lambda: float(next(ticks)))
    threads = torch.get_num_threads()
    cost = probe.measure(experiment, device="cpu")
    assert torch.get_num_threads() == threads
    assert cost.epoch_s == pytest.approx(batches + validation, abs=5)
    size = (tmp_path / "whole.ckpt").stat().st_size
    assert abs(cost.checkpoint_bytes - size) < 0.05 * size


def test_training_of_one_batch_is_measured_whole(tiny_emoji: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tiny_emoji))
    cost = probe.measure(compose(["dataset.sampler.kwargs.batch_size=16"]), device="cpu")
    assert cost.epoch_s > 0 and cost.checkpoint_bytes > 1000
