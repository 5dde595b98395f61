"""A GPU's memory between two trainings of one process; the GPU is told here."""

import pytest
import torch

from trainables import device_memory
from trainables.device_memory import KEPT, release
from trainables.errors import ProcessLost


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What happened to the cache of a GPU that is in use."""
    seen: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append(True))
    return seen


def test_it_waits_until_the_memory_is_free(emptied: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    held = [2 * KEPT, 2 * KEPT, KEPT]
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: held.pop(0))
    release()
    assert held == [] and emptied == [True]


def test_what_is_never_freed_asks_for_a_new_process(emptied: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 100 * 2**20)
    monkeypatch.setattr(device_memory, "SECONDS_TO_FREE", 0.3)
    with pytest.raises(ProcessLost, match="100 MiB of the trial before"):
        release()
    assert emptied == []


def test_without_a_gpu_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 1 / 0)
    release()
