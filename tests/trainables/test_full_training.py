"""The options of a training together, end to end: what each changes, and that nothing of it is lost on disk."""

import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables import Training, checkpoint, compose
from trainables.checks import check
from trainables.errors import UserError
from trainables.registry import LOSSES
from trainables.steps import Diverged

from .test_training import RESUMED, numbers

EVERYTHING = [
    "experience.max_iter=3",
    "experience.warm_up=2",
    "experience.sub_batch=6",
    "experience.clip_grad=0.5",
    "experience.log_grad=true",
    "experience.train_eval_freq=1",
    "loss.SupAP.weight=adaptive",
    "loss.CalibrationLoss.weight=adaptive",
    "optimizer.backbone.scheduler_on_step={name: OneCycleLR, kwargs: {max_lr: 0.003, total_steps: 100}}",
    "optimizer.fc.scheduler_on_epoch={name: ExponentialLR, kwargs: {gamma: 0.5}}",
    "optimizer.fc.scheduler_on_val={name: ReduceLROnPlateau, kwargs: {patience: 0, threshold: 10.0}}",
]
RING = ["memory=sop", "memory.kwargs.size=50", "memory.activate_after=1"]
UNIQUE = ["memory=cub", "memory.kwargs.size=null", "memory.weight=0.3"]
FLOAT16 = ["model.kwargs.with_autocast=true", "experience.amp_dtype=float16", "experience.channels_last=true"]


class Proxies(nn.Module):
    """The mean distance to a trained proxy of the class, as a classification loss has them."""

    def __init__(self, classes: int = 48, dim: int = 128) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(classes, dim) / dim**0.5)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return (embeddings - self.proxies[labels]).square().sum(1).mean()


@pytest.mark.parametrize("options", [RING, [*UNIQUE, *FLOAT16]], ids=["ring", "unique_float16"])
def test_everything_resumes_in_a_new_process_bit_for_bit(tiny: list[str], tmp_path: Path, options: list[str]) -> None:
    overrides = [*tiny, *EVERYTHING, *options]
    whole = Training(compose(overrides))
    whole.epoch()
    whole.save(tmp_path / "one.ckpt")  # in the middle of the warm-up
    second = whole.epoch()
    run = subprocess.run(
        [sys.executable, "-c", RESUMED, str(tmp_path / "one.ckpt"), json.dumps(overrides)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(run.stdout) == numbers(second)
    assert "train/memory_SupAP" in second.metrics
    resumed = checkpoint.read(tmp_path / "one.ckpt.resumed")
    assert same(resumed["memory"], whole.state()["memory"])
    assert same(resumed["model"], whole.state()["model"])
    assert same(resumed["optimization"], whole.state()["optimization"])
    again = Training(compose(overrides))  # and out of the warm-up
    again.load(tmp_path / "one.ckpt.resumed")
    assert numbers(again.epoch()) == numbers(whole.epoch())


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return torch.equal(left, right) if isinstance(left, Tensor) else left == right


def test_a_report_says_what_was_asked_for(tiny: list[str]) -> None:
    training = Training(compose([*tiny, *EVERYTHING, *RING]))
    first, second = training.epoch().metrics, training.epoch().metrics
    for name in ("SupAP", "CalibrationLoss"):
        assert f"train/memory_{name}" not in first, "the memory is only filled in the first epoch"
        assert f"train/memory_{name}" in second
        assert first[f"train/grad_norm_{name}"] > 0 and first[f"train/weight_{name}"] > 0
    assert first["train/grad_norm"] > 0
    assert 0 < first["train/map_at_r"] <= 1 and first["train/num_queries"] == training.splits["train"]
    plain = Training(compose(tiny)).epoch().metrics
    assert not any("norm" in key or "weight" in key or "memory" in key or key == "train/map_at_r" for key in plain)


def test_adaptive_weights_of_one_batch_bring_the_losses_to_one_norm(tiny: list[str]) -> None:
    training = Training(compose([*tiny, *EVERYTHING]))
    images, labels, positions = next(iter(training._loader.epoch(1)))
    values = training._step(images, labels, positions)
    norms = [values[f"grad_norm_{name}"] * values[f"weight_{name}"] for name in ("SupAP", "CalibrationLoss")]
    assert norms[0].item() == pytest.approx(norms[1].item(), rel=1e-4)
    mean = (values["grad_norm_SupAP"] + values["grad_norm_CalibrationLoss"]) / 2
    assert norms[0].item() == pytest.approx(mean.item(), rel=1e-4)


@pytest.mark.parametrize("options", [[], ["loss.SupAP.weight=adaptive"]])
def test_chunks_train_like_the_whole_batch_where_batch_norm_is_frozen(tiny: list[str], options: list[str]) -> None:
    found = []
    for sub_batch in (16, 5):
        training = Training(compose([*tiny, *options, "model.freeze_batch_norm=true", "experience.log_grad=true",
                                     f"experience.sub_batch={sub_batch}"]))  # fmt: skip
        images, labels, positions = next(iter(training._loader.epoch(1)))
        training.net.train()
        values = training._step(images, labels, positions)
        grads = {name: parameter.grad for name, parameter in training.net.named_parameters()}
        found.append((values, grads))
    (values, whole), (others, chunked) = found
    for name, value in values.items():
        assert others[name].item() == pytest.approx(value.item(), rel=1e-4), name
    for name, gradient in whole.items():
        assert gradient is not None and chunked[name] is not None
        assert (gradient - chunked[name]).norm() <= 1e-4 * gradient.norm(), name


def test_only_the_head_moves_in_the_warm_up(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "experience.warm_up=1", "experience.max_iter=3"]
    two = compose(overrides)
    tree = two.model_dump()
    one = type(two).model_validate({**tree, "optimizer": [{**tree["optimizer"][0], "params": "all"}]})
    for experiment in (two, one):
        training = Training(experiment)
        start = parameters(training)
        training.epoch()
        warm = parameters(training)
        assert moved(start, warm) == {"fc"}
        training.save(tmp_path / "warm.ckpt")
        resumed = Training(experiment)
        resumed.load(tmp_path / "warm.ckpt")
        assert numbers(resumed.epoch()) == numbers(training.epoch())
        assert moved(warm, parameters(training)) == {"fc", "backbone"}


def parameters(training: Training) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in training.net.named_parameters()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_schedulers_count_through_the_warm_up(tiny: list[str]) -> None:
    schedule = "optimizer.backbone.scheduler_on_epoch={name: ExponentialLR, kwargs: {gamma: 0.5}}"
    training = Training(compose([*tiny, schedule, "experience.warm_up=1"]))
    assert [training.epoch().metrics["train/lr_backbone"] for _ in range(2)] == [3e-4, 1.5e-4]


def test_a_plateau_is_told_the_principal_metric_of_the_validation(tiny: list[str], monkeypatch: Any) -> None:
    schedule = "optimizer.fc.scheduler_on_val={name: ReduceLROnPlateau, kwargs: {patience: 0, factor: 0.5}}"
    metric = "experience.principal_metric=recall_at_1"
    training = Training(compose([*tiny, schedule, metric, "experience.max_iter=4", "experience.val_eval_freq=2"]))
    told = iter([0.5, 0.5])
    monkeypatch.setattr(Training, "evaluate", lambda self, split: {"recall_at_1": next(told), "map_at_r": 0.9})
    rates = [training.epoch().metrics["train/lr_fc"] for _ in range(4)]
    assert rates == [6e-4] * 4
    assert training._step.optimization.rates()["fc"] == 3e-4, "the second value is no better than the first"


def test_forced_rates_replace_those_of_the_checkpoint(tiny: list[str], tmp_path: Path) -> None:
    training = Training(compose(tiny))
    training.epoch()
    training.save(tmp_path / "a.ckpt")
    faster = [*tiny, "optimizer.backbone.lr=0.01"]
    with pytest.raises(UserError, match=r"optimizer.0.kwargs.lr was 0.0003, now 0.01"):
        Training(compose(faster)).load(tmp_path / "a.ckpt")
    forced = Training(compose([*faster, "experience.force_lr=true"]))
    forced.load(tmp_path / "a.ckpt")
    assert forced.epoch().metrics["train/lr_backbone"] == 0.01
    other = Training(compose([*faster, "experience.force_lr=true", "optimizer.backbone.weight_decay=0.5"]))
    with pytest.raises(UserError, match="weight_decay"):
        other.load(tmp_path / "a.ckpt")


def test_the_published_sizes_train_whatever_the_number_of_images(tiny: list[str]) -> None:
    for size in (10, 5824):
        training = Training(compose([*tiny, "memory=cub", f"memory.kwargs.size={size}"]))
        metrics = training.epoch().metrics
        assert math.isfinite(metrics["train/memory_SupAP"])
        memory = training._step.objective.memory
        assert memory is not None and len(memory) == min(size, metrics["train/images"])


def test_the_memory_holds_the_newest_embedding_of_each_image(tiny: list[str]) -> None:
    training = Training(compose([*tiny, *UNIQUE]))
    training.epoch()
    memory = training._step.objective.memory
    assert memory is not None and memory.embeddings.shape == (training.splits["train"], 128)
    written = memory.positions >= 0
    assert len(memory) == int(written.sum()) > 0
    assert torch.equal(memory.positions[written], written.nonzero()[:, 0])
    assert torch.equal(memory.labels[written], torch.as_tensor(training._loader.images.class_numbers)[written])
    torch.testing.assert_close(memory.embeddings[written].norm(dim=1), torch.ones(len(memory)))


def test_proxies_are_trained_and_kept(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "Proxies", Proxies)
    tree = json.loads(compose(tiny).model_dump_json())
    tree["loss"].append({"name": "Proxies", "weight": 0.5, "kwargs": {}})
    validate = type(compose(tiny)).model_validate_json
    with pytest.raises(UserError, match="Proxies has proxies of its own to train"):
        check(validate(json.dumps(tree)))
    tree["optimizer"].append({"name": "SGD", "params": "loss", "kwargs": {"lr": 1.0}})
    remembering = {**tree, "memory": {"name": "XBM", "kwargs": {"size": 9}, "weight": 1.0, "activate_after": -1}}
    with pytest.raises(UserError, match="never with a memory"):
        check(validate(json.dumps(remembering)))
    experiment = validate(json.dumps(tree))
    check(experiment)
    whole = Training(experiment)
    before = whole._step.objective.terms[2].loss.state_dict()["proxies"].clone()
    assert "train/lr_loss" in whole.epoch().metrics
    whole.save(tmp_path / "one.ckpt")
    after = checkpoint.read(tmp_path / "one.ckpt")["losses"][2]["proxies"]
    assert not torch.equal(before, after)
    again = Training(experiment)
    again.load(tmp_path / "one.ckpt")
    assert numbers(again.epoch()) == numbers(whole.epoch())


def test_one_test_split_may_be_chosen_by_name(tiny: list[str]) -> None:
    chosen = Training(compose([*tiny, "experience.eval_split=test"]))
    assert [split.name for split in chosen.test_splits()] == ["test"]
    with pytest.raises(UserError, match=r"unknown experience.eval_split 'tset', did you mean 'test'"):
        Training(compose([*tiny, "experience.eval_split=tset", "experience.test_eval_freq=1"]))


def test_the_best_epoch_is_the_validations_whatever_the_test_says(tiny: list[str], monkeypatch: Any) -> None:
    training = Training(compose([*tiny, "experience.test_eval_freq=1", "experience.train_eval_freq=1"]))
    values = {"val": iter([0.6, 0.5]), "test": iter([0.1, 0.9]), "train": iter([0.1, 0.9])}
    monkeypatch.setattr(Training, "evaluate", lambda self, split: {"map_at_r": next(values[split.name])})
    metrics = [training.epoch().metrics for _ in range(2)]
    assert [report["test/map_at_r"] for report in metrics] == [0.1, 0.9]
    assert training.best == {"epoch": 1.0, "map_at_r": 0.6}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_reduced_precision_trains_close_to_float32(tiny: list[str], dtype: str) -> None:
    reduced = ["model.kwargs.with_autocast=true", f"experience.amp_dtype={dtype}"]
    full, half = Training(compose(tiny)).epoch().metrics, Training(compose([*tiny, *reduced])).epoch().metrics
    assert half["train/loss"] == pytest.approx(full["train/loss"], rel=0.1)


def test_a_scaler_is_part_of_the_checkpoint(tiny: list[str]) -> None:
    training = Training(compose([*tiny, *FLOAT16]))
    training.epoch()
    assert training.state()["optimization"]["scaler"]["scale"] > 0


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_network_trains_the_same_and_keeps_its_names(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    plain = Training(compose(tiny))
    expected = plain.epoch().metrics
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compiled = Training(compose([*tiny, "experience.compile=true"]))
    assert compiled.epoch().metrics["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-3)
    assert compiled.net.state_dict().keys() == plain.net.state_dict().keys()
    assert compiled.net.backbone._compiled_call_impl is not None
    compiled.save(tmp_path / "c.ckpt")
    chunked = Training(compose([*tiny, "experience.compile=true", "experience.sub_batch=8", "loss.0.weight=adaptive"]))
    chunked.epoch()


def test_a_norm_that_is_not_finite_is_a_divergence(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(compose([*tiny, "experience.log_grad=true", "optimizer.fc.lr=1e30"]))
    with pytest.raises(Diverged):
        training.epoch()
