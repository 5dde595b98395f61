"""What a training will need, found without training: parameters by part, and the memory of one step."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from trainables.building import build_model
from trainables.data import build_transform
from trainables.experiment import Experiment

# float32 values that an optimizer keeps for each parameter
STATES = {"Adam": 2, "AdamW": 2, "NAdam": 2, "RAdam": 2, "SGD": 1, "RMSprop": 1, "Adagrad": 1}
# matrices (batch, references) that a loss holds at once: scores, gradient, and two to compute with
SCORES = 4
PROBED = 2  # images that are sent through the network to see what it keeps for the backward pass
SIDE = 640  # of the made-up photo that a transform is tried on


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of one step, by what holds them."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    losses: int
    references: int  # the memory of embeddings

    @property
    def total(self) -> int:
        return sum(int(getattr(self, field.name)) for field in fields(self))


def untrained(experiment: Experiment) -> nn.Module:
    """The network of the experiment with random weights: nothing is downloaded, no weights file is opened."""
    kwargs = {**experiment.model.kwargs, "pretrained": False, "weights": None}
    model = experiment.model.model_copy(update={"kwargs": kwargs})
    return build_model(experiment.model_copy(update={"model": model}))


def parameters(net: nn.Module) -> dict[str, tuple[int, int]]:
    """part -> (parameters, those of them that are trained)."""
    parts = dict(net.named_children())
    return {name: (_count(part.parameters()), _count(_trained(part))) for name, part in parts.items()}


def memory_of_a_step(experiment: Experiment, net: nn.Module) -> Memory:
    """An estimate for float32 weights: one step with the batch size and sub_batch of the experiment.

    Activations are measured: what autograd keeps of two images of the train transform's size, on the CPU.
    """
    batch = int(experiment.dataset.sampler.kwargs.get("batch_size", 1))
    chunk = min(batch, experiment.experience.sub_batch)
    images = _images(experiment, PROBED)
    kept, dim = _kept(net, images, experiment)
    trained = _count(_trained(net))
    references = int(experiment.memory.kwargs.get("size", 0)) if experiment.memory.name else 0
    states = max(STATES.get(part.name, 2) for part in experiment.optimizer)
    return Memory(
        weights=4 * _count(net.parameters()) + sum(t.numel() * t.element_size() for t in net.buffers()),
        gradients=4 * trained,
        optimizer=4 * states * trained,
        activations=chunk * (kept + images.nbytes) // PROBED,
        losses=4 * SCORES * batch * (batch + references) + 4 * 2 * batch * dim,
        references=4 * references * dim,
    )


def _images(experiment: Experiment, count: int) -> Tensor:
    photo = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    return build_transform(experiment.transform.train)([photo] * count)


def _kept(net: nn.Module, images: Tensor, experiment: Experiment) -> tuple[int, int]:
    """Bytes that autograd saves in a forward pass, each tensor once and no parameter; the width of an embedding."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    dtype = getattr(torch, experiment.experience.amp_dtype)
    reduced = bool(experiment.model.kwargs.get("with_autocast", True)) and dtype == torch.bfloat16
    net.train()
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=reduced),
    ):
        embeddings = net(images)
    return sum(seen.values()), int(embeddings.shape[1])


def _trained(net: nn.Module) -> Iterable[nn.Parameter]:
    return (parameter for parameter in net.parameters() if parameter.requires_grad)


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
