"""k folds in one training: the numbers of k trainings alone, their means, one state on disk."""

from pathlib import Path
from statistics import mean, stdev

import pytest
import torch

from trainables import Report, Training, compose
from trainables.errors import UserError
from trainables.experiment import Experiment
from trainables.folded import FoldedTraining, merged
from trainables.splitting import fold_of
from trainables.steps import Diverged

FOLDS = 3


@pytest.fixture
def folded(tiny: list[str]) -> Experiment:
    return compose([*tiny, "experience.holdout=null", f"experience.kfold={FOLDS}", "experience.split=0"])


def numbers(report: Report) -> dict[str, str]:
    return {key: value.hex() for key, value in report.metrics.items() if not key.startswith("time/")}


def test_each_fold_is_a_training_of_its_own(folded: Experiment) -> None:
    together = FoldedTraining(folded)
    reports = [together.epoch(), together.epoch()]
    assert together.done and together.finished_epochs == 2
    for fold in range(FOLDS):
        alone = Training(fold_of(folded, fold))
        for report in reports:
            assert alone.epoch().metrics["val/map_at_r"] == report.metrics[f"folds/{fold}/map_at_r"]


def test_a_report_is_the_folds_mean() -> None:
    folds = [
        Report(2, {"val/map_at_r": value, "train/loss": 2 * value, "time/epoch_s": 3.0, "time/embed_ms": value})
        for value in (0.1, 0.2, 0.6)
    ]
    folds[2].metrics["train/rare"] = 5.0
    report = merged(folds, "map_at_r")
    assert report.epoch == 2
    assert report.metrics == {
        "val/map_at_r": pytest.approx(0.3),
        "train/loss": pytest.approx(0.6),
        "train/rare": 5.0,
        "time/epoch_s": 9.0,
        "time/embed_ms": pytest.approx(0.3),
        "folds/0/map_at_r": 0.1,
        "folds/0/train/loss": 0.2,
        "folds/1/map_at_r": 0.2,
        "folds/1/train/loss": 0.4,
        "folds/2/map_at_r": 0.6,
        "folds/2/train/loss": 1.2,
        "folds/2/train/rare": 5.0,
        "folds/spread": pytest.approx((0.07) ** 0.5),
    }
    assert report.metrics["val/map_at_r"] == mean((0.1, 0.2, 0.6))
    assert report.metrics["folds/spread"] == stdev((0.1, 0.2, 0.6))


def test_two_epochs_are_one_and_one_bit_for_bit(folded: Experiment, tmp_path: Path) -> None:
    whole = FoldedTraining(folded)
    whole.epoch()
    whole.save(tmp_path / "training.ckpt")
    second = whole.epoch()
    assert [file.name for file in sorted(tmp_path.iterdir())] == [f"training.fold{n}.ckpt" for n in range(FOLDS)]
    torch.manual_seed(99)
    resumed = FoldedTraining(folded)
    resumed.load(tmp_path / "training.ckpt")
    assert resumed.finished_epochs == 1
    assert numbers(resumed.epoch()) == numbers(second)


def test_a_checkpoint_that_is_not_whole_is_refused(folded: Experiment, tmp_path: Path) -> None:
    training = FoldedTraining(folded)
    training.save(tmp_path / "training.ckpt")
    first = (tmp_path / "training.fold0.ckpt").read_bytes()
    training.epoch()
    training.save(tmp_path / "training.ckpt")
    (tmp_path / "training.fold0.ckpt").write_bytes(first)
    with pytest.raises(UserError, match=r"its folds are of different epochs: \[0, 1, 1\]"):
        FoldedTraining(folded).load(tmp_path / "training.ckpt")
    (tmp_path / "training.fold2.ckpt").unlink()
    with pytest.raises(UserError, match=r"there is no checkpoint .*training.fold2.ckpt"):
        FoldedTraining(folded).load(tmp_path / "training.ckpt")


def test_a_fold_that_diverges_is_named(tiny: list[str]) -> None:
    rates = ["optimizer.backbone.lr=1e30", "optimizer.fc.lr=1e30"]
    folds = ["experience.holdout=null", "experience.kfold=2", "experience.split=0"]
    training = FoldedTraining(compose([*tiny, *rates, *folds]))
    with pytest.raises(Diverged, match="fold 0: "):
        training.epoch()
        training.epoch()


MEMORY = ["memory=default", "memory.name=XBM", "memory.kwargs={size: 64}", "loss=smoothap"]


def test_what_is_put_aside_and_taken_up_trains_on(tiny: list[str]) -> None:
    """A move replaces what the tensors hold, never the tensors that optimizer and losses know."""
    kept, moved = Training(compose([*tiny, *MEMORY])), Training(compose([*tiny, *MEMORY]))
    reports = []
    for training in (kept, moved):
        torch.manual_seed(0)
        training.epoch()
        if training is moved:
            before = [id(parameter) for parameter in moved.net.parameters()]
            moved.move("cpu")
            assert [id(parameter) for parameter in moved.net.parameters()] == before
            assert all(parameter.grad is None for parameter in moved.net.parameters())
        torch.manual_seed(1)
        reports.append(training.epoch())
    assert numbers(reports[0]) == numbers(reports[1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_fold_that_waits_is_not_on_the_gpu(folded: Experiment) -> None:
    training = FoldedTraining(folded)
    training.epoch()
    training.epoch()
    for fold in training._folds:
        states = [part.optimizer.state_dict()["state"] for part in fold._step.optimization.parts]
        tensors = [value for state in states for own in state.values() for value in own.values()]
        assert all(tensor.device.type == "cpu" for tensor in [*tensors, *fold.net.parameters()])
