"""What is minimised: losses of embeddings -> their values and one gradient on the embeddings.

    sum over the losses l of  weight_l * (l(batch) + memory weight * l(batch, memory))

Nothing here knows the network: the embeddings may be one process's or those of several, gathered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainables.memory import CrossBatchMemory

Norms = Callable[[Sequence[Tensor]], Tensor]
"""Gradients on the embeddings, (B, D) for each of L losses -> (L,) norms of what becomes of them on the last layer."""


class Term(NamedTuple):
    """One summand. "adaptive": its gradient is rescaled to the mean norm of all the losses' gradients."""

    name: str
    weight: float | Literal["adaptive"]
    loss: nn.Module


class Judged(NamedTuple):
    """What the losses say of a batch; nothing in it has a graph."""

    values: dict[str, Tensor]  # scalars by name: each loss, "memory_<loss>", "loss" (their sum), weights, norms
    gradient: Tensor  # (B, D) of the sum on the embeddings
    on_parameters: list[tuple[nn.Parameter, Tensor]]  # of the sum on the losses' own parameters (proxies)


def norms_on_embeddings(gradients: Sequence[Tensor]) -> Tensor:
    """The norms (L,) where the embeddings themselves are the last layer."""
    return torch.stack([gradient.norm() for gradient in gradients])


@dataclass(frozen=True)
class Objective:
    """Weighted losses within the batch and, where there is one, against a memory.

    log_norms: every loss's gradient norm in the values, before its weight.
    """

    terms: Sequence[Term]
    memory: CrossBatchMemory | None = None
    memory_weight: float = 1.0
    log_norms: bool = False

    @property
    def adaptive(self) -> bool:
        return any(term.weight == "adaptive" for term in self.terms)

    @property
    def needs_norms(self) -> bool:
        return self.adaptive or self.log_norms

    def __call__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        *,
        with_memory: bool = True,
        norms: Norms = norms_on_embeddings,
    ) -> Judged:
        """embeddings (B, D) float32, labels (B,). The memory counts once it holds something, if `with_memory`."""
        leaf = embeddings.detach().requires_grad_()
        references = self.memory.references() if self.memory is not None and with_memory else None
        values: dict[str, Tensor] = {}
        totals, gradients = [], []
        on_parameters: list[list[tuple[nn.Parameter, Tensor]]] = []
        for name, _, loss in self.terms:
            total = values[name] = loss(leaf, labels)
            if references is not None:
                values[f"memory_{name}"] = loss(leaf, labels, *references)
                total = total + self.memory_weight * values[f"memory_{name}"]
            gradient, on_own = _gradients(total, leaf, loss)
            totals.append(total)
            gradients.append(gradient)
            on_parameters.append(on_own)
        weights, told = self._weights(norms(gradients) if self.needs_norms else None)
        values |= {"loss": torch.stack([weight * total for weight, total in zip(weights, totals, strict=True)]).sum()}
        return Judged(
            {name: value.detach() for name, value in (values | told).items()},
            torch.stack([weight * gradient for weight, gradient in zip(weights, gradients, strict=True)]).sum(0),
            [
                (parameter, weight * gradient)
                for weight, own in zip(weights, on_parameters, strict=True)
                for parameter, gradient in own
            ],
        )

    def _weights(self, norms: Tensor | None) -> tuple[list[float | Tensor], dict[str, Tensor]]:
        """The weight of each loss, and what the report says of weights and norms."""
        told: dict[str, Tensor] = {}
        if norms is not None and self.log_norms:
            told |= {f"grad_norm_{term.name}": norm for term, norm in zip(self.terms, norms, strict=True)}
        if norms is None or not self.adaptive:
            return [_fixed(term) for term in self.terms], told
        weights = list(adaptive_weights([term.weight for term in self.terms], norms))
        told |= {f"weight_{term.name}": weight for term, weight in zip(self.terms, weights, strict=True)}
        return [*weights], told

    def remember(self, embeddings: Tensor, labels: Tensor, positions: Tensor) -> None:
        """After the step: what the next batches are compared with. positions (B,) in the train split."""
        if self.memory is not None:
            self.memory.store(embeddings, labels, positions)


def adaptive_weights(weights: Sequence[float | Literal["adaptive"]], norms: Tensor) -> Tensor:
    """(L,) numbers: an adaptive weight brings its loss's gradient to the mean norm, the others stay.

    norms (L,) of the losses' gradients. The mean is over the gradients as they are summed: a fixed weight times its
    norm, an adaptive one's as it is; weights of 0 are left out. A loss without gradient keeps weight 1.
    """
    fixed = torch.tensor([1.0 if weight == "adaptive" else weight for weight in weights]).to(norms)
    chosen = torch.tensor([weight == "adaptive" for weight in weights], device=norms.device)
    mean = (fixed * norms).sum() / fixed.count_nonzero()
    rescaled = torch.where(norms > 0, mean / norms.clamp(min=1e-12), 1.0)
    return torch.where(chosen, rescaled, fixed)


def _fixed(term: Term) -> float:
    assert term.weight != "adaptive", "adaptive weights need the norms"
    return term.weight


def _gradients(total: Tensor, embeddings: Tensor, loss: nn.Module) -> tuple[Tensor, list[tuple[nn.Parameter, Tensor]]]:
    """Of one loss on the embeddings (B, D), and on those of its own parameters that are trained."""
    own = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    gradient, *others = torch.autograd.grad(total, [embeddings, *own], allow_unused=True)
    found = [(parameter, other) for parameter, other in zip(own, others, strict=True) if other is not None]
    return torch.zeros_like(embeddings) if gradient is None else gradient, found
