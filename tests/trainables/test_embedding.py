"""Chunks against the whole batch: the same gradient, the same random numbers, a flat peak of memory."""

import gc
import weakref
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.embedding import Embedded, Forward, Precision, embed, is_channels_last, norms_on_layer
from trainables.models import Conv4

CPU = torch.device("cpu")


class Net(nn.Module):
    """A backbone with dropout and perhaps batch norm, a head, unit length."""

    def __init__(self, batch_norm: bool = False, dropout: float = 0.3, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(24) if batch_norm else nn.Identity()
        self.backbone = nn.Sequential(nn.Flatten(1), nn.Linear(12, 24), norm, nn.GELU(), nn.Dropout(dropout))
        self.fc = nn.Linear(24, 8)
        self.to(dtype)

    def forward(self, images: Tensor) -> Tensor:
        return functional.normalize(self.fc(self.backbone(images)), dim=1)


def make(seed: int = 0, images: int = 20, dtype: torch.dtype = torch.float64, **kwargs: bool) -> tuple[Net, Tensor]:
    torch.manual_seed(seed)
    return Net(dtype=dtype, **kwargs), torch.randn(images, 3, 2, 2, dtype=dtype)


def forward_of(net: nn.Module, dtype: torch.dtype = torch.float32, autocast: bool = False) -> Forward:
    return Forward(net, Precision(CPU, dtype, autocast))


def pull(embeddings: Tensor) -> Tensor:
    """The gradient of a loss of all pairs on the embeddings: no chunk can know it alone."""
    leaf = embeddings.detach().requires_grad_()
    ((leaf @ leaf.T).exp().sum() / len(leaf)).backward()
    assert leaf.grad is not None
    return leaf.grad


def gradients(net: nn.Module) -> dict[str, Tensor]:
    found = {}
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        found[name] = parameter.grad
    return found


@pytest.mark.parametrize("sub_batch", [1, 6, 10, 19])
@pytest.mark.parametrize("last_layer", [False, True])
def test_chunks_have_the_gradient_of_one_graph_with_dropout_active(sub_batch: int, last_layer: bool) -> None:
    net, images = make()
    torch.manual_seed(7)
    direct = torch.cat([net(chunk) for chunk in images.split(sub_batch)])  # the same dropout, one graph
    direct.backward(pull(direct))
    after = torch.get_rng_state()
    expected = {name: gradient.clone() for name, gradient in gradients(net).items()}
    net.zero_grad()
    torch.manual_seed(7)
    batch = embed(forward_of(net), images, sub_batch, net.fc if last_layer else None)
    assert torch.equal(batch.embeddings.detach(), direct.detach())
    batch.backward(pull(batch.embeddings))
    for name, gradient in gradients(net).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12, msg=name)
    assert torch.equal(torch.get_rng_state(), after), "the next batch draws what it would have drawn"


def test_chunks_have_the_gradient_of_the_whole_batch_in_float32() -> None:
    net, images = make(dtype=torch.float32, dropout=False)
    whole = embed(forward_of(net), images, len(images))
    whole.backward(pull(whole.embeddings))
    expected = {name: gradient.clone() for name, gradient in gradients(net).items()}
    net.zero_grad()
    chunked = embed(forward_of(net), images, 7)
    chunked.backward(pull(chunked.embeddings))
    for name, gradient in gradients(net).items():
        assert (gradient - expected[name]).norm() <= 1e-5 * expected[name].norm(), name


def test_numbers_drawn_by_the_losses_do_not_disturb_the_chunks() -> None:
    net, images = make()
    found = []
    for draws in (0, 5):
        net.zero_grad()
        torch.manual_seed(3)
        batch = embed(forward_of(net), images, 6)
        torch.rand(draws)
        now = torch.get_rng_state()
        batch.backward(pull(batch.embeddings))
        assert torch.equal(torch.get_rng_state(), now)
        found.append({name: gradient.clone() for name, gradient in gradients(net).items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_running_statistics_are_updated_once() -> None:
    net, images = make(batch_norm=True)
    other, _ = make(batch_norm=True)
    for chunk in images.split(6):
        other(chunk)
    batch = embed(forward_of(net), images, 6)
    batch.backward(pull(batch.embeddings))
    for name, buffer in net.named_buffers():
        torch.testing.assert_close(buffer, dict(other.named_buffers())[name], msg=name)
    assert int(net.backbone[2].num_batches_tracked) == 4
    assert net.backbone[2].track_running_stats


def test_frozen_batch_norm_is_exact_and_stays() -> None:
    net, images = make(batch_norm=True, dropout=False)
    net.backbone[2].eval()
    before = net.backbone[2].running_mean.clone()
    whole = embed(forward_of(net), images, 20)
    whole.backward(pull(whole.embeddings))
    expected = {name: gradient.clone() for name, gradient in gradients(net).items()}
    net.zero_grad()
    chunked = embed(forward_of(net), images, 3)
    chunked.backward(pull(chunked.embeddings))
    for name, gradient in gradients(net).items():
        torch.testing.assert_close(gradient, expected[name], msg=name)
    assert torch.equal(net.backbone[2].running_mean, before)


def peak_saved_bytes(net: Net, images: Tensor, sub_batch: int, last_layer: nn.Module | None = None) -> int:
    """The most bytes that graphs kept for backward at one time, parameters not counted."""
    live, peak = 0, 0
    own = {parameter.data_ptr() for parameter in net.parameters()}

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal live, peak
            self.tensor = tensor
            size = 0 if tensor.data_ptr() in own else tensor.nbytes
            live += size
            peak = max(peak, live)
            weakref.finalize(self, release, size)

    def release(size: int) -> None:
        nonlocal live
        live -= size

    gc.collect()
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        batch = embed(forward_of(net), images, sub_batch, last_layer)
        batch.backward(pull_of(batch))
    return peak


def pull_of(batch: Embedded) -> Tensor:
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        return pull(batch.embeddings)


def test_the_peak_of_saved_activations_does_not_grow_with_the_batch() -> None:
    net, images = make(images=512)
    direct = [peak_saved_bytes(net, images[:size], size) for size in (32, 512)]
    chunked = [peak_saved_bytes(net, images[:size], 16) for size in (32, 512)]
    assert direct[1] >= 15 * direct[0], "the measure sees the activations"
    assert chunked[1] == chunked[0] <= 0.55 * direct[0]
    # with the last layer's graph its inputs are kept, never the backbone's activations
    assert peak_saved_bytes(net, images, 16, net.fc) < 0.5 * direct[1]


def per_loss_norm(net: Net, embeddings: Tensor, gradient: Tensor) -> Tensor:
    parts = torch.autograd.grad(embeddings, list(net.fc.parameters()), gradient, retain_graph=True)
    return torch.cat([part.flatten() for part in parts]).norm()


@pytest.mark.parametrize("sub_batch", [20, 6])
def test_norms_on_the_last_layer(sub_batch: int) -> None:
    net, images = make(dropout=False)
    direct = net(images)
    draws = [torch.randn(20, 8, dtype=torch.float64) * scale for scale in (1.0, 1e-20, 0.0)]
    expected = [per_loss_norm(net, direct, gradient) for gradient in draws]
    batch = embed(forward_of(net), images, sub_batch, net.fc)
    norms = norms_on_layer(batch.embeddings, list(net.fc.parameters()), draws)
    torch.testing.assert_close(norms, torch.stack(expected).double(), rtol=1e-6, atol=0)
    assert net.backbone[1].weight.grad is None and net.fc.weight.grad is None
    without = norms_on_layer(batch.embeddings, [], draws)
    torch.testing.assert_close(without, torch.stack([gradient.norm() for gradient in draws]))


def test_the_norm_of_a_small_gradient_survives_float16() -> None:
    net, images = make(dtype=torch.float32, dropout=False)
    half = partial(forward_of, dtype=torch.float16, autocast=True)
    small = torch.randn(20, 8) * 1e-9
    norm = norms_on_layer(embed(half(net), images, 6, net.fc).embeddings, list(net.fc.parameters()), [small])
    exact = per_loss_norm(net, net(images), small)
    assert norm.item() == pytest.approx(exact.item(), rel=0.02)


def test_channels_last_reaches_the_network() -> None:
    seen: list[bool] = []

    class Look(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.is_contiguous(memory_format=torch.channels_last))
            return images

    images = torch.rand(2, 3, 4, 4)
    for channels_last in (False, True):
        forward = Forward(Look(), Precision(CPU, torch.bfloat16, False), channels_last)
        forward(images)
        forward(images.contiguous(memory_format=torch.channels_last))
    assert seen == [False, False, True, True]


def test_the_layout_of_a_network_is_that_of_its_convolutions() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    assert not is_channels_last(net)
    assert is_channels_last(net.to(memory_format=torch.channels_last))
    assert is_channels_last(Conv4())
    assert not is_channels_last(nn.Linear(2, 3))


@pytest.mark.slow
def test_chunks_repeat_the_dropout_of_a_compiled_backbone() -> None:
    net, images = make(dtype=torch.float32)
    net.backbone.compile()
    torch.manual_seed(7)
    batch = embed(forward_of(net), images, 5, net.fc)
    torch.manual_seed(7)
    again = torch.cat([net(chunk) for chunk in images.split(5)])  # with a graph: another compiled program
    torch.testing.assert_close(batch.embeddings, again)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_chunks_repeat_their_dropout_on_a_gpu() -> None:
    net, images = make()
    net.cuda()
    forward = Forward(net, Precision(torch.device("cuda"), torch.bfloat16, False))
    torch.manual_seed(7)
    direct = torch.cat([forward(chunk) for chunk in images.split(6)])
    direct.backward(pull(direct))
    expected = {name: gradient.clone() for name, gradient in gradients(net).items()}
    net.zero_grad()
    torch.manual_seed(7)
    batch = embed(forward, images, 6)
    batch.backward(pull(batch.embeddings))
    for name, gradient in gradients(net).items():
        torch.testing.assert_close(gradient, expected[name], msg=name)
