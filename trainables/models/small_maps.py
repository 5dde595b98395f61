"""Convolutions on maps of a few places, where much of what a kernel meets is padding: what is not, multiplied alone."""

import torch
from torch import Tensor, nn

# As measured on two by two places of a 3x3 kernel at stride 2: 25 of its 36 taps are in the map, a third less time.
PLACES, SHARE = 4, 0.75
# Numbers in a row of a product: with fewer, starting it takes longer than multiplying.
ROW = 256

Window = tuple[int, int, int]  # first and last + 1 on the map, first in the kernel


class SmallMapConv2d(nn.Module):
    """What a Conv2d gives without gradients, to float32 rounding; from the Conv2d itself where the map is not small."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self._rows: Tensor | None = None

    @staticmethod
    def takes(conv: nn.Conv2d) -> bool:
        """Whether there are maps on which it is worth it."""
        plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
        padded = not isinstance(conv.padding, str) and any(conv.padding)
        return plain and padded and conv.in_channels * conv.kernel_size[1] >= ROW

    def forward(self, images: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, h, w)."""
        down, across = (self._windows(images.shape[2 + side], side) for side in (0, 1))
        taps = self.conv.kernel_size[0] * self.conv.kernel_size[1] * len(down) * len(across)
        met = sum(end - start for start, end, _ in down) * sum(end - start for start, end, _ in across)
        few = 0 < len(down) * len(across) <= PLACES and met <= SHARE * taps
        if not (few and images.is_contiguous(memory_format=torch.channels_last)):
            return self.conv(images)
        return self._products(images.permute(0, 2, 3, 1), down, across).permute(0, 3, 1, 2)

    def _products(self, pixels: Tensor, down: list[Window], across: list[Window]) -> Tensor:
        """A product for each place of the output and row of its window, whose pixels lie side by side."""
        channels, count = self.conv.in_channels, len(pixels)
        if self._rows is None:
            self._rows = self.conv.weight.permute(2, 3, 1, 0).flatten(1, 2).contiguous()  # (kh, kw * in, out)
        found = pixels.new_zeros(count, len(down), len(across), self.conv.out_channels)
        if self.conv.bias is not None:
            found += self.conv.bias
        for i, (top, bottom, row) in enumerate(down):
            for j, (left, right, column) in enumerate(across):
                kernel = self._rows[:, column * channels : (column + right - left) * channels]
                for y in range(top, bottom):
                    found[:, i, j].addmm_(pixels[:, y, left:right].flatten(1), kernel[row + y - top])
        return found

    def _windows(self, size: int, side: int) -> list[Window]:
        """Of each place of the output along one side of the map."""
        kernel, stride, padding = self.conv.kernel_size[side], self.conv.stride[side], int(self.conv.padding[side])
        starts = range(-padding, size + padding - kernel + 1, stride)
        inside = [(min(max(start, 0), size), min(max(start + kernel, 0), size), start) for start in starts]
        return [(first, end, first - start) for first, end, start in inside]
