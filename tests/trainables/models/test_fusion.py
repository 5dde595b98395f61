"""The network of evaluation against the network: the same numbers, and nothing of the network touched."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from trainables.models import Conv4, RetrievalNet
from trainables.models.fusion import fused
from trainables.models.small_maps import SmallMapConv2d


def trained(net: nn.Module, size: int = 32) -> nn.Module:
    """In evaluation, with statistics, weights and shifts that are nobody's defaults."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d) and module.weight is not None:
                module.weight.uniform_(-1.5, 1.5)
                module.bias.normal_()
        for _ in range(3):
            net.train()(3 * torch.randn(16, 3, size, size) + 1)
    return net.eval()


def kinds(net: nn.Module) -> set[type[nn.Module]]:
    return {type(module) for module in net.modules()}


@pytest.mark.parametrize("size", [8, 17, 32, 64])
def test_the_four_blocks_give_the_same_without_batch_norms(size: int) -> None:
    net = trained(RetrievalNet("conv4", embed_dim=16))
    images = torch.randn(5, 3, size, size)
    with torch.inference_mode():
        found = fused(net)
        assert nn.BatchNorm2d not in kinds(found)
        torch.testing.assert_close(found(images), net(images), rtol=1e-5, atol=1e-6)


def test_the_network_stays_what_it_is() -> None:
    net = trained(RetrievalNet("conv4", embed_dim=16, freeze_batch_norm=True))
    before, places = copy.deepcopy(net.state_dict()), list(net.modules())
    random = torch.get_rng_state()
    found = fused(net)
    with torch.inference_mode():
        found(torch.randn(2, 3, 32, 32, generator=torch.Generator()))
    assert torch.equal(random, torch.get_rng_state())
    assert all(one is other for one, other in zip(places, net.modules(), strict=True))
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())
    assert found.fc is net.fc
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    net.train()(torch.randn(4, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_it_is_of_the_network_as_it_is_now() -> None:
    net, images = trained(Conv4()), torch.randn(2, 3, 32, 32)
    fused(net)
    with torch.no_grad():
        net.blocks[0][0].weight.mul_(2)
        torch.testing.assert_close(fused(net)(images), net(images), rtol=1e-5, atol=1e-5)


def test_part_of_a_network_of_another_kind() -> None:
    net, images = trained(resnet18()), torch.randn(2, 3, 32, 32)  # a Sequential where it halves the map
    found = fused(net)
    norms = [sum(isinstance(module, nn.BatchNorm2d) for module in each.modules()) for each in (net, found)]
    assert norms == [20, 17]
    with torch.no_grad():
        torch.testing.assert_close(found(images), net(images), rtol=1e-4, atol=1e-4)


def test_biases_groups_and_norms_without_numbers_of_their_own() -> None:
    net = trained(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8, affine=False),
            nn.Conv2d(8, 8, 3, groups=8, padding="same"),
            nn.BatchNorm2d(8, eps=0.1),
            nn.Conv2d(8, 4, 1, bias=False),
        )
    )
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert nn.BatchNorm2d not in kinds(fused(net))
        torch.testing.assert_close(fused(net)(images), net(images), rtol=1e-5, atol=1e-5)


class Backwards(nn.Sequential):
    """Its order is not that of its calls."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self[0](self[1](images))


def test_what_is_not_plainly_one_behind_the_other_is_left_alone() -> None:
    def pair() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval()

    without = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    heard, normed, compiled = pair(), pair(), pair()
    heard[0].register_forward_hook(lambda module, given, found: None)
    nn.utils.parametrizations.weight_norm(normed[0])
    compiled.compile()
    training = pair()
    training[1].train()
    others = [Backwards(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval(), nn.Sequential(nn.Linear(3, 3)), pair().double()]
    for net in (without, heard, normed, compiled, training, *others):
        assert fused(net) is net
    assert fused(pair()) is not None and kinds(fused(pair())) == {nn.Sequential, nn.Conv2d, nn.Identity}


@pytest.mark.parametrize("size", [(4, 4), (3, 4), (2, 2), (1, 1), (8, 8), (4, 1)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (3, 1, 1), (5, 2, 2), ((2, 3), (1, 2), (1, 2))])
@pytest.mark.parametrize("bias", [False, True])
def test_products_on_small_maps_are_the_convolution(
    size: tuple[int, int], kernel: int, stride: int, padding: int, bias: bool
) -> None:
    conv = nn.Conv2d(128, 24, kernel, stride, padding, bias=bias)
    images = torch.randn(6, 128, *size)
    assert SmallMapConv2d.takes(conv)
    with torch.no_grad():
        small = SmallMapConv2d(conv)
        for given in (images, images.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(small(given), conv(given), rtol=1e-5, atol=1e-5)


def test_products_are_for_small_maps_and_long_rows() -> None:
    conv = nn.Conv2d(128, 24, 3, 2, 1).to(memory_format=torch.channels_last)
    with torch.no_grad():
        small = SmallMapConv2d(conv)
        small(torch.randn(1, 128, 8, 8).contiguous(memory_format=torch.channels_last))
        assert small._rows is None
        small(torch.randn(1, 128, 4, 4).contiguous(memory_format=torch.channels_last))
        assert small._rows is not None
    others = [nn.Conv2d(64, 8, 3, padding=1), nn.Conv2d(256, 8, 3), nn.Conv2d(256, 8, 3, padding="same")]
    others += [nn.Conv2d(256, 8, 3, padding=1, groups=2), nn.Conv2d(256, 8, 3, padding=1, dilation=2)]
    assert not any(SmallMapConv2d.takes(other) for other in others)
