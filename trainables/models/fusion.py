"""A network for evaluation alone: what batch norm does to a convolution's output is put into the convolution."""

import copy
import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trainables.models.small_maps import SmallMapConv2d


def fused(net: nn.Module) -> nn.Module:
    """The network as it is now, in evaluation and without gradients: the same outputs to float32 rounding.

    Where a Sequential has a BatchNorm2d right behind a Conv2d, in float32 on a CPU. There batch norm is a pass over
    memory, a tenth of what the convolutions take; on a GPU, in TF32, the folded weights would be rounded otherwise.
    Such a convolution leaves out its padding on small maps, too. All else is shared with `net`, which stays what it is;
    a net without such a place is given back itself.
    """
    with torch.no_grad():
        return _fused(net)


def _fused(module: nn.Module) -> nn.Module:
    if module._compiled_call_impl is not None:  # by `compile`, and lost in a copy
        return module
    children = {name: None if child is None else _fused(child) for name, child in module._modules.items()}
    if type(module).forward is nn.Sequential.forward:  # else its children's order says nothing of who calls whom
        for before, after in itertools.pairwise(children):
            conv, norm = children[before], children[after]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and _fit(conv, norm):
                # a layer of its own in the place of the norm: places are counted by who looks into a Sequential
                both = fuse_conv_bn_eval(conv, norm)
                children[before] = SmallMapConv2d(both) if SmallMapConv2d.takes(both) else both
                children[after] = nn.Identity()
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    copied = copy.copy(module)
    copied._modules = children
    return copied


def _fit(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    """Whether both are plainly what they are: no subclass, nobody listening in between, statistics to go by."""
    return (
        type(conv) is nn.Conv2d
        and type(norm) is nn.BatchNorm2d
        and not (conv.training or norm.training)
        and norm.running_var is not None
        and not any(_listened_to(module) for module in (conv, norm))
        and all(
            tensor.device.type == "cpu" and tensor.dtype == torch.float32
            for module in (conv, norm)
            for tensor in (*module.parameters(), *module.buffers())
            if tensor.is_floating_point()
        )
    )


def _listened_to(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
