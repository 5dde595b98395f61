"""How the processes of one training meet: by torchrun's environment, or at a store that one of them opens."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist

from trainables.distributed import World, talking
from trainables.errors import UserError

PATIENCE = timedelta(minutes=30)  # for a rank that is alive but silent; one that has died is noticed at once
LOOPBACK = "127.0.0.1"


@contextmanager
def from_environment(environment: Mapping[str, str] = os.environ) -> Iterator[World]:
    """The World that torchrun describes by RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; else of one."""
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in environment:
            raise UserError(f"WORLD_SIZE={environment['WORLD_SIZE']} without {name}: torchrun sets them all")
    gpu = int(environment["LOCAL_RANK"])
    gpus = torch.cuda.device_count()
    if 0 < gpus <= gpu:
        raise UserError(f"LOCAL_RANK={gpu}: this machine has {gpus} GPUs, and each process needs its own")
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    with joined(World(rank, size, device_number(gpu)), environment["MASTER_ADDR"]) as world:
        yield world


@contextmanager
def joined(world: World, address: str, store: dist.Store | None = None) -> Iterator[World]:
    """The process group of a world, from a store, or from the environment: NCCL between GPUs, gloo between CPUs."""
    assert world.device is not None
    card = card_towards(address)
    if card:
        # gloo looks for an address by the machine's name, which is often its loopback: others wait there for ever
        os.environ.setdefault("GLOO_SOCKET_IFNAME", card)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", card)
    on_gpu = world.device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(world.device)
    with talking():
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=store,
            rank=world.rank,
            world_size=world.size,
            timeout=PATIENCE,
        )
    try:
        yield world
    except UserError:
        dist.destroy_process_group()  # else its threads may abort a process that ends with words
        raise
    # after another exception the others may be gone: nothing to say goodbye to, the process ends
    dist.destroy_process_group()


def card_towards(address: str) -> str:
    """The network card of this machine by which it reaches the address, as the system names it; "" where none is."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)  # sends nothing
            own = probe.getsockname()[0]
    except OSError:
        return ""
    cards = psutil.net_if_addrs().items()
    return next((name for name, known in cards if own in {one.address.partition("%")[0] for one in known}), "")


def device_number(gpu: int) -> torch.device:
    """GPU number `gpu` where this process sees any, else the CPU."""
    return torch.device("cuda", gpu) if torch.cuda.is_available() else torch.device("cpu")


def open_store(address: str) -> dist.TCPStore:
    """Where the ranks find each other: a free port of `address` and no other, its number in `.port`."""
    listener = socket.create_server((address, 0))
    port = listener.getsockname()[1]
    return dist.TCPStore(
        address, port, is_master=True, wait_for_workers=False, timeout=PATIENCE, master_listen_fd=listener.detach()
    )


def find_store(address: str, port: int) -> dist.TCPStore:
    return dist.TCPStore(address, port, is_master=False, timeout=PATIENCE)
