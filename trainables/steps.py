"""One batch: embeddings in the chosen precision, every loss in float32, the gradient back, every optimizer."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trainables.distributed import World, chunks
from trainables.embedding import Embedded, Forward, embed, norms_on_layer
from trainables.models import RetrievalNet
from trainables.objective import Objective
from trainables.optimization import Optimization


class Diverged(RuntimeError):
    """The training met a number that is not finite: its settings are infeasible, nothing is broken."""


@dataclass(frozen=True)
class Step:
    """What does not change from batch to batch."""

    net: RetrievalNet
    forward: Forward
    objective: Objective
    optimization: Optimization
    sub_batch: int  # images through the network at a time
    world: World

    def __call__(
        self, images: Tensor, labels: Tensor, positions: Tensor, *, with_memory: bool = True
    ) -> dict[str, Tensor]:
        """images (b, 3, H, W), labels (b,), positions (b,) in the train split, this process's share of the batch ->
        detached scalars of the whole batch for the report.

        They are each loss and their weighted sum "loss", "memory_<loss>" where a memory was compared with, and the
        weights and gradient norms that are asked for.
        """
        self.optimization.zero_grad()
        share = self._embedded(images)
        embeddings = self.world.gather(share.embeddings.detach())  # (B, D)
        own = self.world.share(len(embeddings))
        labels = self.world.gather(labels.to(embeddings.device, non_blocking=True))
        positions = self.world.gather(positions)
        last = [parameter for parameter in self.net.fc.parameters() if parameter.requires_grad]
        norms = partial(norms_on_layer, share.embeddings, last, own=own, add=self.world.sum_)
        judged = self.objective(embeddings, labels, with_memory=with_memory, norms=norms)
        share.backward(self.optimization.scaled(judged.gradient[own]))
        self.world.sum_gradients(self.net.parameters())
        for parameter, gradient in judged.on_parameters:
            parameter.grad = self.optimization.scaled(gradient)
        norm = self.optimization.step()
        self.objective.remember(embeddings, labels, positions)
        return judged.values if norm is None else judged.values | {"grad_norm": norm}

    def move(self, device: str | torch.device) -> None:
        """Network, proxies, memory and the optimizers' states; gradients are let go."""
        self.optimization.zero_grad()
        self.net.to(device)
        for term in self.objective.terms:
            term.loss.to(device)
        if self.objective.memory is not None:
            self.objective.memory.move(device)
        self.optimization.follow()

    def _embedded(self, images: Tensor) -> Embedded:
        last_layer = self.net.fc if self.objective.needs_norms else None
        pieces = []
        if self.world.size > 1:
            pieces = chunks(len(images), max(self.world.counts(len(images))), self.sub_batch)
        with self.world.own_random():
            return embed(self.forward, images, self.sub_batch, last_layer, pieces)
