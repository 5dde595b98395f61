"""One batch: forward in the chosen precision, every loss in float32, backward, every optimizer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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

    def __call__(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """images (B, 3, H, W), labels (B,) -> every loss and their weighted sum "loss", detached scalars."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            embeddings = self.net(images)  # (B, D) float32
        values = {name: loss(embeddings, labels) for name, _, loss in self.losses}
        total = torch.stack([weight * values[name] for name, weight, _ in self.losses]).sum()
        self.scaler.scale(total).backward()
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        return {name: value.detach() for name, value in {**values, "loss": total}.items()}
