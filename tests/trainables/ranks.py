"""One of several processes of test_distributed.py: `python ranks.py RANK SIZE PORT FOLDER OVERRIDES_JSON`."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables import Training, compose
from trainables.distributed import World
from trainables.errors import UserError
from trainables.experiment import LossTerm
from trainables.losses import SupAP
from trainables.rendezvous import LOOPBACK, find_store, joined

NOISY = (LossTerm(name="BlackBoxAP", weight=1.0, kwargs={"lambda_": 4.0, "margin": 0.5}),)
ROWS = (5, 2)  # of a batch of 7, by rank


def little_net() -> tuple[nn.Module, Tensor, Tensor]:
    """A net with a part that nothing uses and a frozen one; 7 inputs and their classes."""
    generator = torch.Generator().manual_seed(1)
    net = nn.ModuleDict({"used": nn.Linear(6, 4), "unused": nn.Linear(6, 4), "frozen": nn.Linear(4, 4)}).double()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    net["frozen"].requires_grad_(False)
    return net, torch.randn(7, 6, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 2, 2, 0])


def gradients(world: World, own: slice) -> dict[str, Any]:
    """The loss of all 7 and the gradients after the sum over the ranks."""
    net, inputs, labels = little_net()
    rows = nn.functional.normalize(net["frozen"](net["used"](inputs[own])), dim=1)
    gathered, all_labels = world.gather(rows), world.gather(labels[own])
    loss = SupAP(tau=0.1)(gathered, all_labels)
    loss.backward()
    world.sum_gradients(net.parameters())
    return {
        "loss": loss.detach(),
        "labels": all_labels,
        "gathered": gathered.detach(),
        "gradients": {name: parameter.grad for name, parameter in net.named_parameters()},
    }


def error(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as caught:
        return f"{type(caught).__name__}: {caught}"
    return ""


def refuse(rank: int, world: World) -> None:
    if world.rank == rank:
        raise UserError(f"said by {rank}")


def draws(world: World) -> list[Tensor]:
    """[common, own, common, own] numbers of an epoch."""
    torch.manual_seed(world.rank)  # the leader's state is taken
    world.begin_epoch(seed=3, epoch=2)
    found = []
    for _ in range(2):
        found.append(torch.rand(3))
        with world.own_random():
            found.append(torch.rand(3))
    return found


def train(
    world: World,
    overrides: list[str],
    start: Path | None = None,
    keep: Path | None = None,
    loss: tuple[LossTerm, ...] | None = None,
) -> dict[str, Any]:
    """Every epoch's metrics, the weights at the end, embeddings of the validation split, even of three images."""
    experiment = compose(overrides)
    training = Training(experiment.model_copy(update={} if loss is None else {"loss": loss}), world=world)
    if start is not None:
        training.load(start)
    reports = []
    while not training.done:
        reports.append(training.epoch().metrics)
        if keep is not None and training.finished_epochs == 1 and world.leads:
            training.save(keep)
    assert training.validation is not None
    query = training.validation.query
    few = training.embed(query.subset(torch.arange(3).numpy()))
    return {
        "reports": [{k: v for k, v in report.items() if not k.startswith("time/")} for report in reports],
        "weights": training.net.state_dict(),
        "embeddings": training.embed(query),
        "few": few,
    }


def main(rank: int, size: int, port: int, folder: Path, overrides: list[str]) -> None:
    world = World(rank, size, torch.device("cpu"))
    start = sum(ROWS[:rank])
    with ExitStack() as stack:
        stack.enter_context(joined(world, LOOPBACK, find_store(LOOPBACK, port)))
        net = nn.Linear(2, 2)
        world.copy_leader(net)
        found = {
            "step": gradients(world, slice(start, start + ROWS[rank])),
            "leader's error": error(lambda: world.from_leader(lambda: refuse(0, world))),
            "leader's value": world.from_leader(lambda: rank + 7),
            "another's error": error(lambda: world.together(lambda: refuse(1, world))),
            "together": world.together(lambda: rank),
            "draws": draws(world),
            "copied": net.state_dict(),
            "plain": train(world, overrides, keep=folder / "two.ckpt"),
            "noisy": train(world, overrides, loss=NOISY),
            "roadmap": train(world, [*overrides, "loss=roadmap"]),
            "resumed": train(world, overrides, start=folder / "one.ckpt"),
            "own statistics": train(world, [*overrides, "model.freeze_batch_norm=false"]),
            "too small": error(
                lambda: train(world, [*overrides, "dataset.sampler.kwargs={batch_size: 1, samples_per_class: 1}"])
            ),
        }
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), json.loads(sys.argv[5]))
