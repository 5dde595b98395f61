"""What has been counted of a block of rows."""

import threading

import torch
from torch import Tensor


class Tally:
    """The counts (a, P) int32 of a block of rows, tile after tile, from any thread: sums, so the order is free."""

    def __init__(self, rows: slice, exact: Tensor) -> None:
        """exact (a, P) float64 thresholds, rising, padded with +inf."""
        self.rows, self.exact = rows, exact
        self.counts = exact.new_zeros(exact.shape, dtype=torch.int32)
        self._adding = threading.Lock()
        self._bounds: tuple[Tensor, Tensor] | None = None

    def add(self, found: Tensor) -> None:
        with self._adding:
            self.counts += found

    def clear(self) -> None:
        self.counts.zero_()

    def bounds(self, margin: float) -> tuple[Tensor, Tensor]:
        """(P, a) float32 twice: a float32 score that is off by no more than `margin` may reach the threshold from
        the one on, and must from the other on."""
        if self._bounds is None:
            exact = self.exact.T
            self._bounds = (exact - margin).float().contiguous(), (exact + margin).float().contiguous()
        return self._bounds
