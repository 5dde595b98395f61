"""Training: equal runs, resumed or not, and what each report says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from trainables import Training, checkpoint, compose
from trainables.data import Emoji
from trainables.errors import UserError
from trainables.steps import Diverged

RESUMED = """
import json, sys
from trainables import Training, compose
training = Training(compose(json.loads(sys.argv[2])))
training.load(sys.argv[1])
report = training.epoch()
training.save(sys.argv[1] + ".resumed")
print(json.dumps({key: value.hex() for key, value in report.metrics.items() if not key.startswith("time/")}))
"""


def numbers(report: object) -> dict[str, str]:
    metrics = report.metrics  # type: ignore[attr-defined]
    return {key: value.hex() for key, value in metrics.items() if not key.startswith("time/")}


def test_two_epochs_are_one_and_one_in_a_new_process_bit_for_bit(tiny: list[str], tmp_path: Path) -> None:
    whole = Training(compose(tiny))
    whole.epoch()
    second = whole.epoch()
    first_half = Training(compose(tiny))
    first_half.epoch()
    file = tmp_path / "half.ckpt"
    first_half.save(file)
    run = subprocess.run(
        [sys.executable, "-c", RESUMED, str(file), json.dumps(tiny)], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == numbers(second)
    resumed = checkpoint.read(Path(f"{file}.resumed"))["model"]
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, resumed[name]), name


def test_the_network_of_an_evaluation_gives_the_embeddings_of_the_network(tiny: list[str]) -> None:
    training = Training(compose(tiny))
    training.epoch()
    assert training.validation is not None
    images = training.validation.query
    pictures = torch.cat([batch for batch, _, _ in training._loader.look(images, 64)])
    with torch.no_grad():
        expected = training._evaluator._forward(pictures, training.net.eval())
    for _ in range(2):  # pictures that are kept, too
        torch.testing.assert_close(training.embed(images), expected, rtol=1e-5, atol=1e-6)


def test_dropout_and_augmentation_resume_too(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "model=timm", "model.kwargs.backbone_name=resnet10t", "model.kwargs.pretrained=false",
                 "model.kwargs.with_autocast=true", "optimizer.fc.lr=0.01"]  # fmt: skip
    whole = Training(compose(overrides))
    whole.epoch()
    whole.save(tmp_path / "one.ckpt")
    second = whole.epoch()
    again = Training(compose(overrides))
    again.load(tmp_path / "one.ckpt")
    assert numbers(again.epoch()) == numbers(second)


def test_a_report_names_losses_metrics_rates_and_times(tiny: list[str]) -> None:
    report = Training(compose(tiny)).epoch()
    assert report.epoch == 1
    assert {"train/SupAP", "train/CalibrationLoss", "train/loss", "val/map_at_r", "val/recall_at_1"} <= set(
        report.metrics
    )
    assert report.metrics["train/loss"] == pytest.approx(
        report.metrics["train/SupAP"] + report.metrics["train/CalibrationLoss"], rel=1e-5
    )
    assert report.metrics["train/lr_backbone"] == 3e-4
    assert report.metrics["time/epoch_s"] > 0
    assert not any(key.startswith("test/") for key in report.metrics)


def test_training_learns(tiny: list[str]) -> None:
    training = Training(compose([*tiny, "experience.max_iter=6", "optimizer.backbone.lr=0.003"]))
    losses = [training.epoch().metrics["train/loss"] for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]
    assert training.done and training.best is not None


def test_validation_classes_are_never_trained_on(tiny: list[str]) -> None:
    training = Training(compose(tiny))
    assert training.validation is not None
    trained = set(training._loader.images.labels)
    held = set(training.validation.query.labels)
    test = set(training.test_splits()[0].query.labels)
    assert trained and held and test
    assert not trained & held and not (trained | held) & test


def test_folds_cover_the_train_classes(tiny: list[str]) -> None:
    folds = [Training(compose([*tiny, "experience.holdout=null", "experience.kfold=3", f"experience.split={fold}"]))
             for fold in range(3)]  # fmt: skip
    held = [set(fold.validation.query.labels) for fold in folds if fold.validation is not None]
    assert set.union(*held) == set(Emoji().train().labels)
    assert sum(len(part) for part in held) == len(set.union(*held))


def test_the_test_split_is_not_read_unless_asked_for(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: Emoji) -> None:
        raise AssertionError("the test split was read")

    monkeypatch.setattr(Emoji, "test", read)
    Training(compose(tiny)).epoch()
    with pytest.raises(AssertionError, match="was read"):
        Training(compose([*tiny, "experience.test_eval_freq=1"])).epoch()


def test_a_number_that_is_not_finite_is_a_divergence(tiny: list[str]) -> None:
    training = Training(compose([*tiny, "optimizer.backbone.lr=1e30", "optimizer.fc.lr=1e30"]))
    with pytest.raises(Diverged):
        training.epoch()
        training.epoch()


def test_a_checkpoint_of_another_experiment_is_refused(tiny: list[str], tmp_path: Path) -> None:
    Training(compose(tiny)).save(tmp_path / "a.ckpt")
    other = Training(compose([*tiny, "loss.SupAP.tau=0.5"]))
    with pytest.raises(UserError, match=r"loss.1.kwargs.tau was 0.01, now 0.5"):
        other.load(tmp_path / "a.ckpt")
    longer = Training(compose([*tiny, "experience.max_iter=5"]))
    longer.load(tmp_path / "a.ckpt")


def test_multistep_schedule(tiny: list[str]) -> None:
    schedule = "{name: MultiStepLR, kwargs: {milestones: [1], gamma: 0.5}}"
    training = Training(compose([*tiny, f"optimizer.backbone.scheduler_on_epoch={schedule}"]))
    rates = [training.epoch().metrics["train/lr_backbone"] for _ in range(2)]
    assert rates == [3e-4, 1.5e-4]


def test_a_checkpoint_of_another_version_is_one_line(tiny: list[str], tmp_path: Path) -> None:
    training = Training(compose(tiny))
    training.save(tmp_path / "last.ckpt")
    state = checkpoint.read(tmp_path / "last.ckpt")
    written = json.loads(state["experiment"])
    del written["memory"]
    checkpoint.write(tmp_path / "last.ckpt", {**state, "experiment": json.dumps(written)})
    with pytest.raises(UserError, match=r"last.ckpt was written by another version .*: memory: ") as caught:
        training.load(tmp_path / "last.ckpt")
    assert "\n" not in str(caught.value)


def test_checkpoints_are_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "x.ckpt"
    checkpoint.write(file, {"value": 1})
    with pytest.raises(RuntimeError):
        checkpoint.write(file, {"value": Unpicklable()})
    assert checkpoint.read(file)["value"] == 1
    assert [path.name for path in file.parent.iterdir()] == ["x.ckpt"]
    (tmp_path / "torn.ckpt").write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.read(tmp_path / "torn.ckpt")
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint.read(tmp_path / "none.ckpt")


class Unpicklable:
    def __reduce__(self) -> str:
        raise RuntimeError("the disk is full")


def test_random_states_come_back() -> None:
    checkpoint.seed_everything(3)
    states = checkpoint.random_states()
    drawn = torch.rand(3), np.random.rand(3)
    checkpoint.set_random_states(states)
    assert torch.equal(torch.rand(3), drawn[0])
    assert np.array_equal(np.random.rand(3), drawn[1])
