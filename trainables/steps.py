"""One batch: forward in the chosen precision, every loss in float32, backward, every optimizer.

Among several processes each embeds its share of the batch; the losses see the whole batch on every one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.distributed import World
from trainables.models import RetrievalNet


class Diverged(RuntimeError):
    """The training met a number that is not finite: its settings are infeasible, nothing is broken."""


@dataclass(frozen=True)
class Precision:
    """Autocast of the forward pass on one device; off means float32."""

    device: torch.device
    dtype: torch.dtype
    enabled: bool

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.enabled)

    def scaler(self) -> torch.amp.GradScaler:
        """Only float16 underflows: in every other precision the scaler passes gradients on unchanged."""
        return torch.amp.GradScaler(self.device.type, enabled=self.enabled and self.dtype == torch.float16)


@dataclass(frozen=True)
class Step:
    """What does not change from batch to batch."""

    net: RetrievalNet
    losses: Sequence[tuple[str, float, nn.Module]]
    optimizers: Sequence[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    precision: Precision
    world: World

    def __call__(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """images (b, 3, H, W), labels (b,), this process' share of the batch -> every loss of the whole batch and
        their weighted sum "loss", detached scalars."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with self.world.own_random(), self.precision.autocast():
            own = self.net(images)  # (b, D) float32
        embeddings, labels = self.world.gather(own), self.world.gather(labels)  # (B, D), (B,)
        values = {name: loss(embeddings, labels) for name, _, loss in self.losses}
        total = torch.stack([weight * values[name] for name, weight, _ in self.losses]).sum()
        self.scaler.scale(total).backward()
        self.world.sum_gradients(self.net.parameters())
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        return {name: value.detach() for name, value in {**values, "loss": total}.items()}
