"""Several processes train as one: compared with one process on the same batches. The two processes are ranks.py."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from tests.conftest import write_emoji
from tests.ports import free_port
from tests.trainables import ranks
from trainables import Training, compose
from trainables.data import Emoji, MPerClassSampler, TrainLoader, build_transform
from trainables.data.emoji import FOLDER
from trainables.distributed import World, chunks, share, synchronise_batch_norm
from trainables.errors import UserError
from trainables.rendezvous import card_towards, from_environment, open_store

OVERRIDES = [
    "dataset.sampler.kwargs.batch_size=20",
    "experience.max_iter=3",
    "experience.holdout=0.34",
    "experience.test_eval_freq=-1",
    "experience.num_threads=1",
    "experience.eval_bs=16",
    "model.freeze_batch_norm=true",
    # SupAP counts exact ranks of positives, and rounding decides some of them: no training repeats it to 1e-5
    "loss=smoothap",
]


@pytest.fixture(scope="module")
def hard_emoji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images so noisy that retrieval among them is not perfect."""
    root = write_emoji(tmp_path_factory.mktemp("data"))
    file = root / FOLDER / "images.npy"
    images = np.load(file)
    noise = np.random.default_rng(0).integers(0, 256, images.shape)
    np.save(file, (0.2 * images + 0.8 * noise).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def two(hard_emoji: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What ranks 0 and 1 of a world of two found, and beside it "one", the same by one process."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROADMAP_TUNE_DATA", str(hard_emoji))
        patch.setenv("OMP_NUM_THREADS", "1")
        alone = World()
        one = {
            "step": ranks.gradients(alone, slice(0, 7)),
            "plain": ranks.train(alone, OVERRIDES, keep=folder / "one.ckpt"),
            "noisy": ranks.train(alone, OVERRIDES, loss=ranks.NOISY),
            "roadmap": ranks.train(alone, [*OVERRIDES, "loss=roadmap"]),
            "own statistics": ranks.train(alone, [*OVERRIDES, "model.freeze_batch_norm=false"]),
        }
        store = open_store("127.0.0.1")
        command = [sys.executable, "-m", "tests.trainables.ranks"]
        processes = [
            subprocess.Popen([*command, str(rank), "2", str(store.port), str(folder), json.dumps(OVERRIDES)])
            for rank in (0, 1)
        ]
        try:
            assert [process.wait(200) for process in processes] == [0, 0]
        finally:
            for process in processes:
                process.kill()
        patch.chdir(folder)
        one["from two"] = ranks.train(alone, OVERRIDES, start=folder / "two.ckpt")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)] + [{"one": one}]


def assert_same_training(
    found: dict[str, Any], expected: dict[str, Any], epochs: slice = slice(None), weights: float = 1e-5
) -> None:
    assert len(found["reports"]) == len(expected["reports"][epochs])
    for report, other in zip(found["reports"], expected["reports"][epochs], strict=True):
        assert report == pytest.approx(other, abs=1e-5, rel=1e-5)
    for name, tensor in expected["weights"].items():
        assert torch.allclose(found["weights"][name], tensor, atol=weights), name


def test_shares_follow_each_other_and_are_equal_up_to_one() -> None:
    for count in (0, 1, 7, 16, 128):
        for size in (1, 2, 3, 5):
            parts = [list(range(count))[share(count, rank, size)] for rank in range(size)]
            assert list(itertools.chain(*parts)) == list(range(count))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_every_rank_has_equally_many_chunks() -> None:
    for own in (64, 65):
        pieces = chunks(own, largest=65, at_most=32)
        assert len(pieces) == 3
        assert list(itertools.chain(*(range(own)[piece] for piece in pieces))) == list(range(own))
        assert all(piece.stop - piece.start <= 32 for piece in pieces)
    assert chunks(8, largest=8, at_most=128) == [slice(0, 8)]


def test_a_world_of_one_changes_nothing() -> None:
    world, rows = World(), torch.rand(3, 2, requires_grad=True)
    assert world.gather(rows) is rows and world.leads and world.total(3) == 3
    state = torch.get_rng_state()
    world.begin_epoch(1, 1)
    with world.own_random():
        pass
    assert torch.equal(state, torch.get_rng_state())


def test_uneven_shares_give_the_loss_and_gradients_of_the_whole_batch(two: list[dict[str, Any]]) -> None:
    expected = two[2]["one"]["step"]
    for found in (two[0]["step"], two[1]["step"]):
        assert torch.equal(found["labels"], expected["labels"])
        assert torch.allclose(found["gathered"], expected["gathered"], atol=1e-14)
        assert torch.allclose(found["loss"], expected["loss"], atol=1e-14)
        for name, gradient in expected["gradients"].items():
            if gradient is None:
                assert found["gradients"][name] is None, name
            else:
                assert gradient.abs().max() > 1e-3
                assert torch.allclose(found["gradients"][name], gradient, atol=1e-12), name
    assert all(
        torch.equal(first, second)
        for first, second in zip(
            [g for g in two[0]["step"]["gradients"].values() if g is not None],
            [g for g in two[1]["step"]["gradients"].values() if g is not None],
            strict=True,
        )
    )


def test_two_processes_train_as_one(two: list[dict[str, Any]]) -> None:
    expected = two[2]["one"]["plain"]
    first, last = expected["reports"][0], expected["reports"][-1]
    assert last["train/loss"] < first["train/loss"] and 0 < last["val/map_at_r"] < 1, "a training that says something"
    assert_same_training(two[0]["plain"], expected)
    assert two[0]["plain"]["reports"] == two[1]["plain"]["reports"], "every rank reports the same bits"
    for name, tensor in two[0]["plain"]["weights"].items():
        assert torch.equal(tensor, two[1]["plain"]["weights"][name]), name


def test_two_processes_train_roadmap_up_to_ranks_that_rounding_decides(two: list[dict[str, Any]]) -> None:
    for report, other in zip(two[0]["roadmap"]["reports"], two[2]["one"]["roadmap"]["reports"], strict=True):
        for name in ("train/SupAP", "train/CalibrationLoss", "train/loss"):
            assert report[name] == pytest.approx(other[name], abs=2e-3)
        # of some eighty queries of four positives one that changes places with a negative moves the mean by up to 3e-3
        assert report["val/map_at_r"] == pytest.approx(other["val/map_at_r"], abs=1.5e-2)
    assert two[0]["roadmap"]["reports"] == two[1]["roadmap"]["reports"]


def test_embeddings_of_shares_stand_in_the_order_of_the_images(two: list[dict[str, Any]]) -> None:
    expected = two[2]["one"]["plain"]
    for found in two[:2]:
        assert found["plain"]["embeddings"].shape == expected["embeddings"].shape
        assert torch.allclose(found["plain"]["embeddings"], expected["embeddings"], atol=1e-5)
        assert torch.allclose(found["plain"]["few"], expected["few"], atol=1e-5), "fewer images than ranks can share"


def test_random_losses_draw_alike_on_every_rank(two: list[dict[str, Any]]) -> None:
    for report, other in zip(two[0]["noisy"]["reports"], two[2]["one"]["noisy"]["reports"], strict=True):
        assert report["train/BlackBoxAP"] == pytest.approx(other["train/BlackBoxAP"], abs=2e-3)
    assert two[0]["noisy"]["reports"] == two[1]["noisy"]["reports"]


def test_a_checkpoint_goes_on_in_another_number_of_processes(two: list[dict[str, Any]]) -> None:
    expected = two[2]["one"]["plain"]
    assert_same_training(two[0]["resumed"], expected, slice(1, None))
    assert_same_training(two[2]["one"]["from two"], expected, slice(1, None))


def test_each_rank_has_its_own_stream_beside_the_common_one(two: list[dict[str, Any]]) -> None:
    mine, theirs = two[0]["draws"], two[1]["draws"]
    torch.manual_seed(0)
    assert torch.equal(mine[0], torch.rand(3)) and torch.equal(mine[2], torch.rand(3)), "the leader's stream"
    assert torch.equal(mine[0], theirs[0]) and torch.equal(mine[2], theirs[2])
    assert not torch.equal(mine[1], theirs[1]) and not torch.equal(mine[3], theirs[3])
    assert not torch.equal(mine[1], mine[3])


def test_errors_and_values_reach_every_rank(two: list[dict[str, Any]]) -> None:
    for rank, found in enumerate(two[:2]):
        assert found["leader's error"] == "UserError: said by 0"
        assert found["another's error"] == "UserError: said by 1"
        assert found["leader's value"] == 7 and found["together"] == rank
        assert "a batch of 1 images cannot be shared by 2 processes" in found["too small"]
    assert torch.equal(two[0]["copied"]["weight"], two[1]["copied"]["weight"])


def test_trained_batch_norms_agree_on_their_statistics(two: list[dict[str, Any]]) -> None:
    mine, theirs = two[0]["own statistics"], two[1]["own statistics"]
    assert mine["reports"] == theirs["reports"]
    for name, tensor in mine["weights"].items():
        assert torch.equal(tensor, theirs["weights"][name]), name
    one = two[2]["one"]["own statistics"]
    moved = [name for name in one["weights"] if name.endswith("running_mean")]
    assert moved and all(one["weights"][name].abs().max() > 0 for name in moved)


def test_batch_norms_become_synchronised_under_their_names() -> None:
    import timm

    net = nn.Sequential(timm.create_model("resnet10t", num_classes=0), nn.BatchNorm1d(512))
    before = net.state_dict()
    synchronise_batch_norm(net)
    assert list(net.state_dict()) == list(before)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in net.modules()) == 1 + sum(
        name.endswith("running_mean") for name in before if name.startswith("0.")
    )


def test_the_augmentation_of_an_image_does_not_depend_on_the_split(hard_emoji: Path) -> None:
    found = Emoji(str(hard_emoji)).train()
    transform = build_transform(
        {"RandomResizedCrop": {"size": 24}, "RandomHorizontalFlip": {"p": 0.5}, "ToTensor": None}
    )
    shares = []
    for world in (World(), World(0, 3), World(1, 3), World(2, 3)):
        sampler = MPerClassSampler(found.labels, 20, 4, seed=1)
        loader = TrainLoader(found, transform, sampler, seed=5, share=world.batch_share)
        shares.append([batch for epoch in (1, 2) for batch in loader.epoch(epoch)])
    whole, *parts = shares
    assert len(whole) > 4
    for number, batch in enumerate(whole):
        for kind in range(3):
            assert torch.equal(batch[kind], torch.cat([part[number][kind] for part in parts]))
    assert not torch.equal(whole[0][0][0], whole[0][0][1])


def test_an_incomplete_environment_is_a_mistake_in_one_line() -> None:
    with pytest.raises(UserError, match="without LOCAL_RANK"), from_environment({"WORLD_SIZE": "2", "RANK": "1"}):
        pass
    with from_environment({}) as world:
        assert world.size == 1
    with from_environment({"WORLD_SIZE": "1", "RANK": "0"}) as world:
        assert world.size == 1


def torchrun(overrides: list[str], folder: Path, data: Path) -> "subprocess.Popen[str]":
    places = [f"experience.log_dir={folder}", "experience.experiment_name=two"]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    return subprocess.Popen(
        [sys.executable, *launcher, "--master-port", str(free_port()), "-m", "trainables", *overrides, *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ROADMAP_TUNE_DATA": str(data), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def told(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "two" / "reports.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/") and k != "epoch"} for line in lines]


@pytest.mark.slow
def test_torchrun_trains_as_one_process_and_goes_on(
    two: list[dict[str, Any]], hard_emoji: Path, tmp_path: Path
) -> None:
    started = torchrun([*OVERRIDES, "experience.max_iter=2"], tmp_path, hard_emoji)
    _, said = started.communicate(timeout=200)
    assert started.returncode == 0, said
    assert said.count("epoch 2/2") == 1 and "on cpu and 1 more" in said
    refused = torchrun(OVERRIDES, tmp_path, hard_emoji)
    _, said = refused.communicate(timeout=200)
    assert refused.returncode == 1 and said.count("roadmap-train: ") == 1 and "maybe_resume=true" in said
    assert "exitcode  : 2" in said
    resumed = torchrun([*OVERRIDES, "experience.maybe_resume=true"], tmp_path, hard_emoji)
    _, said = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, said
    expected = two[2]["one"]["plain"]["reports"]
    assert len(told(tmp_path)) == len(expected) == 3
    for report, other in zip(told(tmp_path), expected, strict=True):
        assert report == pytest.approx(other, abs=1e-5, rel=1e-5)
    weights = {path.name for path in (tmp_path / "two" / "weights").iterdir()}
    assert weights == {"last.ckpt", "best.ckpt"}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_torchrun_ends_every_process(
    hard_emoji: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(hard_emoji))
    started = torchrun([*OVERRIDES, "experience.max_iter=100000"], tmp_path, hard_emoji)
    reports = tmp_path / "two" / "reports.jsonl"
    until = time.monotonic() + 150
    while not reports.exists():
        assert time.monotonic() < until and started.poll() is None
        time.sleep(0.1)
    processes = family(started.pid)
    if how == "interrupted":
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    else:
        workers = [process for process in processes if process.environ().get("RANK") == "1"]
        workers[0].kill()
    _, said = started.communicate(timeout=60)
    assert started.returncode != 0
    if how == "interrupted":
        assert said.count("roadmap-train: interrupted") == 1
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
    resumed = Training(compose([*OVERRIDES, "experience.max_iter=100000"]))
    resumed.load(tmp_path / "two" / "weights" / "last.ckpt")


def test_the_card_towards_an_address() -> None:
    """By name gloo may find the loopback of a machine, where no other one reaches it."""
    cards = psutil.net_if_addrs().items()
    [loopback] = [name for name, known in cards if "127.0.0.1" in {one.address for one in known}]
    assert card_towards("127.0.0.1") == card_towards("localhost") == loopback
    assert card_towards("no.such.host.invalid") == ""
