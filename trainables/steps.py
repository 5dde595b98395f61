"""One batch: embeddings in the chosen precision, every loss in float32, the gradient back, every optimizer."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from trainables.embedding import Forward, embed, norms_on_layer
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

    def __call__(
        self, images: Tensor, labels: Tensor, positions: Tensor, *, with_memory: bool = True
    ) -> dict[str, Tensor]:
        """images (B, 3, H, W), labels (B,), positions (B,) in the train split -> detached scalars for the report.

        They are each loss and their weighted sum "loss", "memory_<loss>" where a memory was compared with, and the
        weights and gradient norms that are asked for.
        """
        self.optimization.zero_grad()
        wanted = self.objective.needs_norms
        batch = embed(self.forward, images, self.sub_batch, self.net.fc if wanted else None)
        last = [parameter for parameter in self.net.fc.parameters() if parameter.requires_grad]
        labels = labels.to(batch.embeddings.device, non_blocking=True)
        judged = self.objective(
            batch.embeddings, labels, with_memory=with_memory, norms=partial(norms_on_layer, batch.embeddings, last)
        )
        batch.backward(self.optimization.scaled(judged.gradient))
        for parameter, gradient in judged.on_parameters:
            parameter.grad = self.optimization.scaled(gradient)
        norm = self.optimization.step()
        self.objective.remember(batch.embeddings, labels, positions)
        return judged.values if norm is None else judged.values | {"grad_norm": norm}
