"""MPerClassSampler: the rule, its generator, and its state."""

import io
from collections import Counter

import numpy as np
import pytest
import torch

from trainables.data import MPerClassSampler
from trainables.errors import UserError

LABELS = np.repeat(np.arange(20), [4, 5, 6, 9, 12] * 4)


def sampler(seed: int = 0, labels: np.ndarray = LABELS) -> MPerClassSampler:
    return MPerClassSampler(labels, batch_size=16, samples_per_class=4, seed=seed)


def test_batches_have_m_of_each_class_and_no_image_twice() -> None:
    made = sampler()
    for _ in range(3):
        planned = len(made)
        batches = list(made)
        assert len(batches) == planned
        for batch in batches:
            assert sorted(Counter(LABELS[batch]).values()) == [4, 4, 4, 4]
        drawn = [position for batch in batches for position in batch]
        assert len(drawn) == len(set(drawn))
        # 20 classes, 1 + 1 + 1 + 2 + 3 chunks of four in every five: at most 8 * 4 chunks, four a batch
        assert 5 <= len(batches) <= 8


def test_every_image_comes_up_in_time() -> None:
    made = sampler()
    assert {position for _ in range(30) for batch in made for position in batch} == set(range(len(LABELS)))


def test_epochs_differ_and_seeds_repeat() -> None:
    first, second = sampler(1), sampler(1)
    epochs = [list(first) for _ in range(3)]
    assert epochs == [list(second) for _ in range(3)]
    assert epochs[0] != epochs[1] and epochs[0] != list(sampler(2))


def test_the_global_generators_are_left_alone() -> None:
    np.random.seed(0)
    torch.manual_seed(0)
    list(sampler())
    after = np.random.rand(), torch.rand(1)
    np.random.seed(0)
    torch.manual_seed(0)
    assert after == (np.random.rand(), torch.rand(1))


def test_state_goes_through_a_safe_checkpoint() -> None:
    whole = sampler()
    list(whole)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed = sampler(99)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert list(resumed) == list(whole)


@pytest.mark.parametrize(
    ("batch_size", "samples", "said"),
    [
        (30, 4, "no multiple"),
        (0, 4, "above 0"),
        (16, 0, "above 0"),
        (16.0, 4, "whole number"),
        (400, 4, "the data have 20"),
    ],
)
def test_mistakes(batch_size: int, samples: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        MPerClassSampler(LABELS, batch_size, samples, seed=0)
