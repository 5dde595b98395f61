"""`roadmap-train --check` and `roadmap-train evaluate`, as a user meets them."""

import json
from pathlib import Path

import pytest
import torch

from trainables import Training, compose, estimate
from trainables.__main__ import main
from trainables.exported import load_model


def test_check_says_everything_and_writes_nothing(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", *tiny, f"experience.log_dir={tmp_path}/x"]) == 0
    said = capsys.readouterr().out
    assert "tau: 0.01" in said and "batch_size: 16" in said
    assert "backbone: 388,896 parameters\n" in said and "fc: 32,896 parameters\n" in said
    assert "memory of a step: about" in said
    assert "train: 80 images of 16 classes" in said
    assert "val: 40 images of 8 classes" in said and "test: 120 images of 24 classes" in said
    assert list(tmp_path.iterdir()) == []


def test_parameters_that_are_not_trained_are_counted_apart() -> None:
    net = estimate.untrained(compose())
    for parameter in net.backbone.parameters():
        parameter.requires_grad_(False)
    assert estimate.parameters(net) == {"backbone": (388_896, 0), "norm": (0, 0), "fc": (32_896, 32_896)}
    assert estimate.memory_of_a_step(compose(), net).gradients == 4 * 32_896


def test_check_without_the_data_says_the_rest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", f"dataset.kwargs.data_dir={tmp_path}"]) == 2
    captured = capsys.readouterr()
    assert "memory of a step" in captured.out and "is missing" in captured.err and captured.err.count("\n") == 1


def test_the_estimate_of_activations_is_what_autograd_keeps() -> None:
    experiment = compose(["dataset.sampler.kwargs.batch_size=64", "experience.sub_batch=32"])
    net = estimate.untrained(experiment)
    need = estimate.memory_of_a_step(experiment, net)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    images = torch.rand(32, 3, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net.train()(images)
    measured = sum(kept.values())
    assert need.activations == pytest.approx(measured, rel=0.25)
    assert need.weights > 4 * sum(parameter.numel() for parameter in net.parameters())
    assert need.optimizer == 2 * need.gradients
    whole = compose(["dataset.sampler.kwargs.batch_size=64", "experience.sub_batch=64"])
    assert estimate.memory_of_a_step(whole, net).activations == pytest.approx(2 * need.activations, rel=0.01)


def test_a_memory_counts_in_the_estimate() -> None:
    net = estimate.untrained(compose())
    with_memory = compose(["memory=sop"])
    need = estimate.memory_of_a_step(with_memory, net)
    assert need.references == 60000 * 128 * 4
    assert need.losses > estimate.memory_of_a_step(compose(), net).losses


@pytest.fixture
def trained(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main([*tiny, f"experience.log_dir={tmp_path}", "experience.experiment_name=one"]) == 0
    capsys.readouterr()
    return tmp_path / "one"


def test_evaluate_gives_what_the_training_reported(
    trained: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    last = json.loads((trained / "reports.jsonl").read_text().splitlines()[-1])
    checkpoint = str(trained / "weights" / "last.ckpt")
    assert main(["evaluate", checkpoint, "--split", "val", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["val"]
    low, high = found["intervals"]["map_at_r"]
    assert 0 <= low <= found["metrics"]["map_at_r"] <= high <= 1
    assert found["metrics"] == {key[4:]: value for key, value in last.items() if key.startswith("val/")}
    assert main(["evaluate", checkpoint]) == 0
    captured = capsys.readouterr()
    said = captured.out
    assert "test: 120 queries against 120 images; counting on" in captured.err
    assert "test/map_at_r  1.0000  [1.0000, 1.0000]" in said and "test/num_queries  120" in said
    assert main(["evaluate", checkpoint, "dataset.ks=[3]", "--split", "train", "experience.with_AP=true"]) == 0
    said = capsys.readouterr().out
    assert "train/recall_at_3" in said and "train/mrr" in said


def test_evaluate_reads_weights_of_the_reference(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["model=timm", "model.kwargs.backbone_name=timm/resnet10t", "model.kwargs.pretrained=false"]
    training = Training(compose([*tiny, *model]))
    split = training.test_splits()[0]
    torch.save({"net_state": training.net.state_dict()}, tmp_path / "rolling.ckpt")
    expected = training.evaluate(split)
    described = [*tiny, *model, "experience.seed=5"]  # other random weights, were they not read
    assert main(["evaluate", str(tmp_path / "rolling.ckpt"), "--reference", "--json", *described]) == 0
    assert json.loads(capsys.readouterr().out)["test"]["metrics"] == expected


def test_export_writes_a_folder_that_opens(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(trained / "weights" / "last.ckpt"), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "largest difference" in said and f"exported: {tmp_path}/out: 128 dimensions, 421,792 parameters" in said
    assert load_model(tmp_path / "out").dims == 128
    assert "# one\n" in (tmp_path / "out" / "README.md").read_text()
    assert main(["export", str(tmp_path / "none.ckpt"), "--out", str(tmp_path / "other")]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err and not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "tset"], "unknown split 'tset', did you mean 'test'"),
        (["loss.SupAP.tau=0.1"], "unknown setting of an evaluation 'loss.SupAP.tau'"),
        (["dataset.ks=many"], "dataset.ks='many'"),
    ],
)
def test_mistakes_of_an_evaluation_are_one_line(
    trained: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(trained / "weights" / "last.ckpt"), *words]) == 2
    told = capsys.readouterr().err
    assert said in told and told.startswith("roadmap-train: ")


def test_what_is_no_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"net_state": {}}, tmp_path / "other.ckpt")
    (tmp_path / "empty.ckpt").touch()
    for name in ("other.ckpt", "empty.ckpt", "none.ckpt"):
        assert main(["evaluate", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
