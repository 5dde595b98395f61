"""From images to embeddings, and from the gradient on the embeddings back into the network.

A batch larger than `sub_batch` goes through in chunks, so that the activations of one chunk are all that is ever kept:
first every chunk without a graph, then, once the losses have said the gradient on the embeddings, each chunk again
with one, from the same random state (Revaud et al., ICCV 2019, arXiv 1906.07589; Gao et al. 2021, arXiv 2101.06983).
The gradient is exactly that of the whole batch seen chunk by chunk. Batch norm that is not frozen normalises by the
chunk, not by the batch; its running statistics are updated once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


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
class Forward:
    """The network where it runs: images (B, 3, H, W) from any device -> embeddings (B, D) on its own.

    channels_last: the layout that they go in, whatever they come in; normalise keeps it.
    normalise: the loader's bytes -> the network's input, where they have arrived; None: they are it already.
    """

    net: nn.Module
    precision: Precision
    channels_last: bool = False
    normalise: Callable[[Tensor], Tensor] | None = None

    def __call__(self, images: Tensor, net: nn.Module | None = None) -> Tensor:
        """net: what stands in for the network, if not itself."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        # as bytes, if they are bytes: a quarter of the way
        images = images.to(self.precision.device, non_blocking=True).to(memory_format=layout)
        if self.normalise is not None:
            images = self.normalise(images)
        with self.precision.autocast():
            embeddings: Tensor = (self.net if net is None else net)(images)
        return embeddings


def is_channels_last(net: nn.Module) -> bool:
    """Whether its convolutions are laid out so: images in another layout would be turned first."""
    maps = [weight for weight in net.parameters() if weight.ndim == 4 and not weight.is_contiguous()]
    return any(weight.is_contiguous(memory_format=torch.channels_last) for weight in maps)


@dataclass(frozen=True)
class Embedded:
    """A batch's embeddings (B, D), and the way back: their gradient (B, D) -> added to the parameters' gradients."""

    embeddings: Tensor
    backward: Callable[[Tensor], None]


def embed(
    forward: Forward, images: Tensor, sub_batch: int, last_layer: nn.Module | None = None, pieces: Sequence[slice] = ()
) -> Embedded:
    """The batch at once, or in chunks where it is larger than `sub_batch`.

    pieces: the chunks instead, where several processes share the batch (`distributed.chunks`).
    last_layer: its part of the graph is kept also in chunks, for `norms_on_layer`. None: nothing is.
    """
    chunks = [images[piece] for piece in pieces] or images.split(sub_batch)
    if len(chunks) == 1:
        embeddings = forward(images)
        return Embedded(embeddings, lambda gradient: _backward(embeddings, gradient))
    device = forward.precision.device
    states, rows = [], []
    for chunk in chunks:
        states.append(_random_state(device))
        with _statistics_kept(forward.net), _graph_from(last_layer):
            rows.append(forward(chunk))

    def backward(gradient: Tensor) -> None:
        now = _random_state(device)
        for chunk, state, part in zip(chunks, states, gradient.split([len(chunk) for chunk in chunks]), strict=True):
            _set_random_state(device, state)
            _backward(forward(chunk), part)
        _set_random_state(device, now)

    return Embedded(torch.cat(rows), backward)


def norms_on_layer(
    embeddings: Tensor,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    own: slice = slice(None),
    add: Callable[[Sequence[Tensor]], None] = lambda parts: None,
) -> Tensor:
    """The norms (L,) of L losses' gradients on a layer's parameters, a product of vector and Jacobian each.

    embeddings (b, D) with a graph from the layer on; gradients (B, D) of each loss on all B of the batch, of which the
    embeddings are the rows `own`; add: sums tensors over the processes that have the others, in place. No parameters:
    the norms on the embeddings. The product is taken of a unit vector: in float16 a small gradient would be lost on the
    way.
    """
    lengths = torch.stack([gradient.norm() for gradient in gradients])
    if not parameters:
        return lengths
    units = [gradient / length.clamp(min=1e-30) for gradient, length in zip(gradients, lengths, strict=True)]
    reached = [
        torch.autograd.grad(embeddings, list(parameters), unit[own], retain_graph=True, materialize_grads=True)
        for unit in units
    ]
    add([part for parts in reached for part in parts])
    return lengths * torch.stack([torch.stack([part.float().norm() for part in parts]).norm() for parts in reached])


def _backward(embeddings: Tensor, gradient: Tensor) -> None:
    if embeddings.requires_grad:  # not where losses alone are trained
        embeddings.backward(gradient)


@contextmanager
def _graph_from(layer: nn.Module | None) -> Iterator[None]:
    """No graph until this layer is reached, one from there on."""
    with torch.no_grad():
        if layer is None:
            yield
            return
        handle = layer.register_forward_pre_hook(_start_graph)
        try:
            yield
        finally:
            handle.remove()


def _start_graph(layer: nn.Module, inputs: object) -> None:
    torch.set_grad_enabled(True)  # until the surrounding no_grad ends


@contextmanager
def _statistics_kept(net: nn.Module) -> Iterator[None]:
    """Batch norm in training normalises as ever but leaves its running statistics: the second pass updates them."""
    updating = [
        module
        for module in net.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    for module in updating:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in updating:
            module.track_running_stats = True


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(device: torch.device, state: tuple[Tensor, Tensor | None]) -> None:
    on_cpu, on_gpu = state
    torch.set_rng_state(on_cpu)
    if on_gpu is not None:
        torch.cuda.set_rng_state(on_gpu, device)
