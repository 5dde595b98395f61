"""The memory against plain lists."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.reference import memory as reference
from trainables.errors import UserError
from trainables.memory import CrossBatchMemory

IMAGES, DIM = 20, 3


def batches(count: int, size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Random ones, images repeated within a batch too."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        positions = torch.randint(IMAGES, (size,), generator=generator)
        found.append((torch.rand(size, DIM, generator=generator), positions % 5, positions))
    return found


def entries(batch: tuple[Tensor, Tensor, Tensor]) -> list[reference.Entry]:
    embeddings, labels, positions = (part.tolist() for part in batch)
    return list(zip(embeddings, labels, positions, strict=True))


def held(memory: CrossBatchMemory) -> list[tuple[list[float], int]]:
    references = memory.references()
    assert references is not None
    return [(row, label) for row, label in zip(*(part.tolist() for part in references), strict=True)]


@pytest.mark.parametrize("size", [1, 4, 7, 16, 100])
def test_a_ring_holds_the_newest(size: int) -> None:
    memory = CrossBatchMemory(size, images=IMAGES, embed_dim=DIM)
    seen = []
    for batch in batches(9, 6):
        memory.store(*batch)
        seen.append(entries(batch))
        expected = [(row, label) for row, label, _ in reference.ring(seen, size)]
        assert sorted(held(memory)) == sorted(expected)
        assert len(memory) == len(expected)


def test_a_unique_memory_holds_each_image_once_and_counts_no_empty_slot() -> None:
    memory = CrossBatchMemory(IMAGES, unique=True, images=IMAGES, embed_dim=DIM)
    seen = []
    for batch in batches(12, 6):
        memory.store(*batch)
        seen.append(entries(batch))
        assert held(memory) == [(row, label) for row, label, _ in reference.unique(seen, IMAGES)]


@pytest.mark.parametrize("size", [1, 4, 7, 13, 19])
def test_a_unique_memory_that_is_short_holds_the_images_seen_last(size: int) -> None:
    memory = CrossBatchMemory(size, unique=True, images=IMAGES, embed_dim=DIM)
    seen = []
    for number, batch in enumerate(batches(40, 6)):
        memory.store(*batch)
        seen.append(entries(batch))
        expected = reference.unique(seen, size)
        assert sorted(held(memory)) == sorted((row, label) for row, label, _ in expected)
        assert sorted(memory.positions[memory.positions >= 0].tolist()) == [entry[2] for entry in expected]
        if number % 7 == 6:  # what was saved goes on the same
            again = CrossBatchMemory(size, unique=True, images=IMAGES, embed_dim=DIM)
            again.load_state_dict(memory.state_dict())
            memory = again


def test_an_empty_memory_has_no_references() -> None:
    assert CrossBatchMemory(5, images=IMAGES, embed_dim=DIM).references() is None
    assert CrossBatchMemory(None, unique=True, images=IMAGES, embed_dim=DIM).references() is None


def test_what_is_stored_has_no_graph() -> None:
    memory = CrossBatchMemory(5, images=IMAGES, embed_dim=DIM)
    memory.store(torch.rand(2, DIM, requires_grad=True) * 2, torch.tensor([0, 1]), torch.tensor([0, 1]))
    references = memory.references()
    assert references is not None and not references[0].requires_grad


@pytest.mark.parametrize("unique", [False, True])
def test_a_restored_memory_goes_on_the_same(unique: bool) -> None:
    whole, first = (CrossBatchMemory(IMAGES, unique, images=IMAGES, embed_dim=DIM) for _ in range(2))
    before, after = batches(8, 7)[:5], batches(8, 7)[5:]
    for batch in before:
        whole.store(*batch), first.store(*batch)
    second = CrossBatchMemory(IMAGES, unique, images=IMAGES, embed_dim=DIM)
    second.load_state_dict(first.state_dict())
    for batch in after:
        whole.store(*batch), second.store(*batch)
    assert held(second) == held(whole)
    other = CrossBatchMemory(IMAGES + 1, unique, images=IMAGES, embed_dim=DIM)
    with pytest.raises(UserError, match="the train split has changed"):
        other.load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": 0, "unique": True}, "or null for one slot an image, not 0"),
        ({"size": 0}, "above 0, not 0"),
        ({"size": None}, "above 0, not None"),
        ({"size": True}, "not True"),
        ({"size": 2.5}, "not 2.5"),
        ({"size": 30, "unique": 1}, "true or false, not 1"),
    ],
)
def test_mistakes_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        CrossBatchMemory(**settings, images=IMAGES, embed_dim=DIM)
    assert said in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_holds_the_same() -> None:
    for unique in (False, True):
        here, there = (
            CrossBatchMemory(IMAGES, unique, images=IMAGES, embed_dim=DIM, device=device) for device in ("cpu", "cuda")
        )
        for embeddings, labels, positions in batches(5, 6):
            here.store(embeddings, labels, positions)
            there.store(embeddings.cuda(), labels.cuda(), positions)
            assert held(here) == held(there)
