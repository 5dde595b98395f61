"""Several processes, one training: what share of a batch is whose, and how the shares become one again.

The processes of a World train as one. Each embeds its share of every batch; `gather` puts the embeddings together in
the batch's order, with the gradient to its own part; every rank computes the whole loss; `sum_gradients` adds what
the shares gave to the parameters. So losses and gradients are those of one process. A World of one does nothing.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.errors import ProcessLost, UserError, first_line

T = TypeVar("T")

BUCKET = 2**23  # numbers that travel together


def share(count: int, rank: int, size: int) -> slice:
    """The part of `count` things in a row that is this rank's: the parts follow each other, equal up to one."""
    return slice(count * rank // size, count * (rank + 1) // size)


def chunks(own: int, largest: int, at_most: int) -> list[slice]:
    """A share of `own` images in pieces of `at_most`, as many pieces as the largest share of all ranks makes.

    Layers that talk to the other ranks in a forward pass need equally many passes on each.
    """
    pieces = -(-largest // at_most)
    return [share(own, piece, pieces) for piece in range(pieces)]


class World:
    """The processes of one training, seen from one of them. Collective methods are called by all or by none."""

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        assert 0 <= rank < size
        self.rank, self.size, self.device = rank, size, device
        self._gpus = [device] if device is not None and device.type == "cuda" else []
        self._own_states: list[Tensor] = []

    @property
    def leads(self) -> bool:
        """Whether this process prints, writes and computes the metrics."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        return share(count, self.rank, self.size)

    def batch_share(self, count: int) -> slice:
        """`share` of a train batch. UserError where a rank would have none of it."""
        if count < self.size:
            raise UserError(f"a batch of {count} images cannot be shared by {self.size} processes")
        return self.share(count)

    def counts(self, own: int) -> list[int]:
        """How many rows each rank has."""
        if self.size == 1:
            return [own]
        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.rank] = own
        with talking():
            dist.all_reduce(counts)
        return [int(count) for count in counts]

    def total(self, own: int) -> int:
        return sum(self.counts(own))

    def gather(self, rows: Tensor) -> Tensor:
        """(n_rank, ...) -> (sum of n, ...) in the order of the ranks; its gradient reaches the own rows alone.

        The loss of all rows is computed alike on every rank, so the own rows' gradient is whole without a word
        between the ranks.
        """
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self)
        return gathered

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds each parameter's gradient over the ranks: after backward, before unscaling, clipping and the step.

        Not for parameters of a loss: each rank computes their whole gradient. Parameters without a gradient (frozen,
        unused) have none on every rank alike.
        """
        self.sum_([parameter.grad for parameter in parameters if parameter.grad is not None])

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Adds each tensor over the ranks, in place; equal bits come out on every rank."""
        if self.size == 1:
            return
        _together(tensors, lambda flat: dist.all_reduce(flat, async_op=True))

    def copy_leader(self, *modules: nn.Module) -> None:
        """Parameters and buffers become the leader's."""
        if self.size == 1:
            return
        tensors = [tensor for module in modules for tensor in itertools.chain(module.parameters(), module.buffers())]
        _together(tensors, lambda flat: dist.broadcast(flat, src=0, async_op=True))

    def mean_statistics(self, net: nn.Module) -> None:
        """Running statistics that each rank's batch norms took from its own shares become their mean."""
        if self.size == 1:
            return
        norms = [norm for norm in net.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.training]
        buffers = [buffer for norm in norms for buffer in norm.buffers() if buffer.is_floating_point()]
        self.sum_(buffers)
        for buffer in buffers:
            buffer.div_(self.size)

    def from_leader(self, compute: Callable[[], T]) -> T:
        """What compute() gives on the leader, or raises there, on every rank."""
        if self.size == 1:
            return compute()
        outcome: list[tuple[Any, Exception | None]] = [(None, None)]
        if self.leads:
            try:
                outcome = [(compute(), None)]
            except Exception as error:
                outcome = [(None, error)]
        with talking():
            dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
        value, error_there = outcome[0]
        if error_there is not None:
            raise error_there
        return value

    def together(self, work: Callable[[], T]) -> T:
        """work() on every rank; where one fails all raise its error, instead of waiting for it."""
        if self.size == 1:
            return work()
        value: T
        failed: Exception | None = None
        try:
            value = work()
        except Exception as error:
            failed = error
        failures: list[Exception | None] = [None] * self.size
        with talking():
            dist.all_gather_object(failures, failed)
        first = failed or next((failure for failure in failures if failure is not None), None)
        if first is not None:
            raise first
        return value

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """All ranks take the leader's random state; beside it each has a stream of its own for the epoch.

        The own stream follows from seed, epoch and rank, so no checkpoint holds it and any number of ranks goes on.
        """
        if self.size == 1:
            return
        common = self.from_leader(self._states)
        words = np.random.SeedSequence([seed, epoch, self.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(words[0] >> np.uint64(1)))
        self._own_states = self._states()
        self._set_states(common)

    @contextmanager
    def own_random(self) -> Iterator[None]:
        """Inside, torch draws from the rank's own stream (dropout: images differ); outside, all ranks draw alike."""
        if self.size == 1:
            yield
            return
        common = self._states()
        self._set_states(self._own_states)
        try:
            yield
        finally:
            self._own_states = self._states()
            self._set_states(common)

    def synchronise_batch_norm(self, net: nn.Module) -> None:
        """On GPUs the network's batch norms take their statistics from all ranks' images; on CPUs each from its own."""
        if self.size > 1 and self._gpus:
            synchronise_batch_norm(net)

    def _states(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(gpu) for gpu in self._gpus)]

    def _set_states(self, states: Sequence[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for gpu, state in zip(self._gpus, states[1:], strict=True):
            torch.cuda.set_rng_state(state, gpu)


def synchronise_batch_norm(net: nn.Module) -> None:
    """Every batch norm below `net` becomes torch's SyncBatchNorm, weights and names kept."""
    from timm.layers import convert_sync_batchnorm  # torch's own would drop the activation inside timm's layers

    converted = convert_sync_batchnorm(net)
    assert converted is net, "a network is more than one batch norm"


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, world: World) -> Tensor:
        counts = world.counts(len(rows))
        start = sum(counts[: world.rank])
        ctx.own = slice(start, start + len(rows))
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        with talking():
            dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.own], None


def _together(tensors: Sequence[Tensor], collective: Callable[[Tensor], Any]) -> None:
    """The collective on all tensors in place, packed in a few large ones that travel at the same time."""
    with talking(), torch.no_grad():
        travelling = []
        for bucket in _buckets(sorted(tensors, key=lambda tensor: str(tensor.dtype))):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            travelling.append((bucket, flat, collective(flat)))
        for bucket, flat, work in travelling:
            work.wait()
            for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(part.view(tensor.shape))


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type in their order, up to BUCKET numbers in a bucket."""
    bucket: list[Tensor] = []
    numbers = 0
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or numbers + tensor.numel() > BUCKET):
            yield bucket
            bucket, numbers = [], 0
        bucket.append(tensor)
        numbers += tensor.numel()
    if bucket:
        yield bucket


@contextmanager
def talking() -> Iterator[None]:
    """Around what waits for other ranks: a failure there is a ProcessLost."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # of this process' own, while packing
    except RuntimeError as error:
        raise ProcessLost(f"another process of this training does not answer: {first_line(error)}") from error
