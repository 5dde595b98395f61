"""What all samplers have: a generator of their own, its state, and settings that are whole numbers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from trainables.errors import UserError


class BatchSampler(ABC):
    """Batches of positions in the train split, those of all GPUs together; every iteration is the next epoch."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    @abstractmethod
    def __len__(self) -> int:
        """Batches of the coming epoch."""

    @abstractmethod
    def __iter__(self) -> Iterator[list[int]]:
        """One epoch; the next call gives the next one. What it draws is settled with its first batch."""

    def state_dict(self) -> dict[str, Any]:
        """The generator's state as text and whole numbers."""
        state = self._generator.bit_generator.state
        words = {name: str(number) for name, number in state["state"].items()}  # 128 bits: more than a tensor holds
        return {**state, "state": words}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        words = {name: int(text) for name, text in state["state"].items()}
        self._generator.bit_generator.state = {**state, "state": words}


def whole_numbers(sampler: str, least: int = 1, **settings: object) -> None:
    """UserError for the first setting that is not a whole number >= least."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{sampler}: {name} must be a whole number above {least - 1}, not {value!r}")


def by_class(labels: np.ndarray) -> list[np.ndarray]:
    """labels (n,) -> the positions of each class, classes in ascending order."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
