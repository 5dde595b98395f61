"""Embeddings of earlier batches that the losses compare the batch with (XBM: Wang et al., CVPR 2020, arXiv 1912.06798).

What a batch is compared with was there before it: the batch is stored after its step. So no query meets itself; of
its own image it meets at most the embedding of an earlier epoch, another view of it, which is an honest positive.
"""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from trainables.errors import UserError


class CrossBatchMemory:
    """One tensor of embeddings with their labels and the images' positions in the train split; no gradient.

    unique false: a ring of `size` embeddings, the oldest overwritten first. unique true: one slot an image, with its
    newest embedding; `size` null is a slot for every train image, with fewer slots than images those stay that were
    seen last. Slots not yet written do not count.
    images: of the train split; embed_dim: of the embeddings. UserError: size no whole number above 0.
    """

    def __init__(
        self,
        size: int | None,
        unique: bool = False,
        *,
        images: int,
        embed_dim: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(unique, bool):
            raise UserError(f"XBM: unique must be true or false, not {unique!r}")
        if size is None and unique:
            size = images
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            null = ", or null for one slot an image" if unique else ""
            raise UserError(f"XBM: size must be a whole number above 0{null}, not {size!r}")
        self.unique = unique
        self.embeddings = torch.zeros(size, embed_dim, device=device)
        self.labels = torch.zeros(size, dtype=torch.int64, device=device)
        self.positions = torch.full((size,), -1, dtype=torch.int64)  # -1: not yet written; not needed on the device
        self._next = 0  # where the ring goes on
        # image -> slot, the image seen longest ago first; None where each image has the slot of its position
        self._slots: OrderedDict[int, int] | None = OrderedDict() if unique and size < images else None

    def __len__(self) -> int:
        """Slots that are written."""
        return int((self.positions >= 0).sum())

    def references(self) -> tuple[Tensor, Tensor] | None:
        """Embeddings (M, D) and labels (M,) of the M slots that are written, None while there are none."""
        written = len(self)
        if not written:
            return None
        if written == len(self.positions) or not self.unique:  # a ring fills from the start: a view, no copy
            return self.embeddings[:written], self.labels[:written]
        slots = (self.positions >= 0).nonzero()[:, 0].to(self.labels.device)
        return self.embeddings[slots], self.labels[slots]

    def store(self, embeddings: Tensor, labels: Tensor, positions: Tensor) -> None:
        """embeddings (B, D), labels (B,), positions (B,) of a batch; of an image that is there twice, the last."""
        images = positions.tolist()
        size = len(self.positions)
        if self.unique:
            row_of = {image: row for row, image in enumerate(images)}
            slots, rows = self._slots_of(row_of)
        else:
            rows = torch.arange(max(0, len(images) - size), len(images))
            slots = (self._next + rows) % size
            self._next = (self._next + len(images)) % size
        device = self.labels.device
        self.positions[slots] = torch.tensor(images)[rows]
        slots, rows = slots.to(device), rows.to(device)
        self.embeddings[slots] = embeddings.detach().to(self.embeddings)[rows]
        self.labels[slots] = labels.to(self.labels)[rows]

    def _slots_of(self, row_of: dict[int, int]) -> tuple[Tensor, Tensor]:
        """Slots and rows of a batch's images; where slots are short, images seen longest ago give theirs up."""
        if self._slots is None:
            return torch.tensor(list(row_of)), torch.tensor(list(row_of.values()))
        row_in: dict[int, int] = {}
        for image, row in row_of.items():
            slot = self._slots.pop(image, None)
            if slot is None:
                full = len(self._slots) == len(self.positions)
                slot = self._slots.popitem(last=False)[1] if full else len(self._slots)
            self._slots[image] = slot
            row_in[slot] = row  # of a batch larger than the memory, the last image that a slot went to
        return torch.tensor(list(row_in)), torch.tensor(list(row_in.values()))

    def move(self, device: torch.device | str) -> None:
        self.embeddings, self.labels = self.embeddings.to(device), self.labels.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Everything, to go on from bit for bit."""
        return {
            "embeddings": self.embeddings,
            "labels": self.labels,
            "positions": self.positions,
            "next": self._next,
            "seen": None if self._slots is None else torch.tensor(list(self._slots), dtype=torch.int64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """UserError: a memory of another shape, as the train split has grown or shrunk since."""
        if state["embeddings"].shape != self.embeddings.shape:
            was, now = tuple(state["embeddings"].shape), tuple(self.embeddings.shape)
            raise UserError(f"the checkpoint's memory is {was}, this training's {now}: the train split has changed")
        self.embeddings.copy_(state["embeddings"])
        self.labels.copy_(state["labels"])
        self.positions.copy_(state["positions"])
        self._next = state["next"]
        if self._slots is not None:
            slot_of = {image: slot for slot, image in enumerate(self.positions.tolist())}
            self._slots = OrderedDict((image, slot_of[image]) for image in state["seen"].tolist())
