"""The samplers: their rules, their generators, and their states."""

import io
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from tests.reference import samplers as slow
from trainables import compose
from trainables.data import BatchSampler, HierarchicalSampler, MPerClassSampler, RandomSampler
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


def test_m_per_class_equals_a_queue_of_classes() -> None:
    generator = np.random.default_rng(3)
    for seed in range(5):
        labels = generator.integers(0, 30, 200)
        assert list(MPerClassSampler(labels, 12, 3, seed)) == slow.per_class_epoch(labels.tolist(), 12, 3, seed)


# 5 super-classes of 6 classes; sizes 1 to 6: some have fewer than three images
SIZES = [1, 2, 3, 4, 5, 6] * 5
CLASSES = np.repeat(np.arange(30) * 3, SIZES)
SUPERS = CLASSES // 3 % 5 + 100


def positions_of(label: int) -> list[int]:
    return [position for position, own in enumerate(CLASSES) if own == label]


def hierarchical(seed: int = 0, **settings: int) -> HierarchicalSampler:
    wanted: dict[str, Any] = {"batch_size": 24, "samples_per_class": 3, "batches_per_super_pair": 4, **settings}
    return HierarchicalSampler(CLASSES, SUPERS, **wanted, seed=seed)


def test_every_pair_of_super_classes_has_so_many_batches_half_from_each() -> None:
    made = hierarchical()
    for _ in range(3):
        pairs: Counter[tuple[int, ...]] = Counter()
        for batch in made:
            assert len(batch) == 24
            pairs[tuple(sorted(set(SUPERS[batch])))] += 1
            assert set(Counter(SUPERS[batch]).values()) == {12}
            assert list(Counter(CLASSES[batch]).values()) == [3] * 8
        assert pairs == dict.fromkeys(combinations(range(100, 105), 2), 4)
        assert len(made) == 10 * 4


@pytest.mark.parametrize(("together", "batches"), [(1, 5), (3, 10), (5, 1)])
def test_super_classes_by_one_by_three_and_all(together: int, batches: int) -> None:
    made = hierarchical(batch_size=30, batches_per_super_pair=1, nb_categories=together, samples_per_class=2)
    groups = Counter(tuple(sorted(set(SUPERS[batch]))) for batch in made)
    assert groups == dict.fromkeys(combinations(range(100, 105), together), 1)
    assert len(made) == batches


def test_images_repeat_only_in_classes_that_have_too_few() -> None:
    sizes = Counter(CLASSES)
    for batch in hierarchical(7):
        for group in np.reshape(batch, (-1, 3)):
            assert len(set(CLASSES[group])) == 1
            if sizes[CLASSES[group[0]]] >= 3:
                assert len(set(group)) == 3


def test_classes_and_images_come_up_equally_often() -> None:
    made = hierarchical()
    drawn = Counter(position for _ in range(100) for batch in made for position in batch)
    # a super-class of 6 classes is in 16 batches an epoch with 4 classes: a class in 16 * 4 / 6 of them
    for label, size in zip(np.unique(CLASSES), SIZES, strict=True):
        expected = 100 * 3 * 16 * 4 / 6
        assert abs(sum(drawn[position] for position in positions_of(label)) / expected - 1) < 0.1
        for position in positions_of(label):
            assert abs(drawn[position] / (expected / size) - 1) < 0.25


def test_a_contiguous_share_of_a_batch_keeps_groups_and_has_each_super_class() -> None:
    for batch in hierarchical(1):
        for share in np.reshape(batch, (4, 6)):  # four GPUs
            assert len(set(CLASSES[share])) == 2 and len(set(SUPERS[share])) == 2


def test_a_small_super_class_gives_each_of_its_classes_once() -> None:
    labels = np.repeat(np.arange(10), 4)
    supers = np.minimum(labels, 2)  # two of one class, one of eight
    sizes = {}
    for batch in HierarchicalSampler(labels, supers, 16, 2, 3, seed=0):
        assert max(Counter(labels[batch]).values()) == 2
        sizes[tuple(sorted(set(supers[batch])))] = len(batch)
    assert sizes == {(0, 1): 4, (0, 2): 2 + 8, (1, 2): 2 + 8}


@pytest.mark.parametrize("together", [2, 3])
def test_hierarchical_equals_nested_loops(together: int) -> None:
    for seed in range(3):
        made = HierarchicalSampler(CLASSES, SUPERS, 24, 4, 2, together, seed=seed)
        assert list(made) == slow.hierarchical_epoch(CLASSES.tolist(), SUPERS.tolist(), 24, 4, 2, together, seed)


def test_random_takes_no_image_twice() -> None:
    for keep, size in ((True, 7 * 17), (False, 124)):
        made = RandomSampler(range(124), 17, drop_last=keep, seed=0)
        epochs = [list(made) for _ in range(2)]
        drawn = [position for batch in epochs[0] for position in batch]
        assert len(drawn) == len(set(drawn)) == size and epochs[0] != epochs[1]
        assert len(epochs[0]) == len(made) and {len(batch) for batch in epochs[0][:7]} == {17}


def test_random_draws_every_image_equally_often() -> None:
    made = RandomSampler(range(50), 20, seed=1)
    drawn = Counter(position for _ in range(1000) for batch in made for position in batch)
    assert all(abs(drawn[position] - 800) < 80 for position in range(50))


MAKERS: dict[str, Callable[[int], BatchSampler]] = {
    "MPerClassSampler": sampler,
    "HierarchicalSampler": hierarchical,
    "RandomSampler": lambda seed: RandomSampler(LABELS, 16, seed=seed),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[int], BatchSampler]:
    return MAKERS[request.param]


def test_epochs_differ_and_seeds_repeat(make: Callable[[int], BatchSampler]) -> None:
    first, second = make(1), make(1)
    epochs = [list(first) for _ in range(3)]
    assert epochs == [list(second) for _ in range(3)]
    assert epochs[0] != epochs[1] and epochs[0] != list(make(2))


def test_the_state_does_not_depend_on_how_far_an_epoch_was_read(make: Callable[[int], BatchSampler]) -> None:
    whole, started = make(1), make(1)
    list(whole)
    next(iter(started))
    assert list(started) == list(whole)


def test_the_global_generators_are_left_alone(make: Callable[[int], BatchSampler]) -> None:
    np.random.seed(0)
    torch.manual_seed(0)
    list(make(0))
    after = np.random.rand(), torch.rand(1)
    np.random.seed(0)
    torch.manual_seed(0)
    assert after == (np.random.rand(), torch.rand(1))


def test_state_goes_through_a_safe_checkpoint(make: Callable[[int], BatchSampler]) -> None:
    whole = make(0)
    list(whole)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed = make(99)
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 20}, "batch_size=20 is no multiple of nb_categories=2 times samples_per_class=3"),
        ({"samples_per_class": 0}, "samples_per_class must be a whole number above 0, not 0"),
        ({"batches_per_super_pair": 0}, "batches_per_super_pair must be a whole number"),
        ({"nb_categories": True}, "nb_categories must be a whole number"),
        ({"nb_categories": 8}, "needs nb_categories=8 super-classes, the data have 5"),
    ],
)
def test_mistakes_in_the_hierarchy(settings: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        hierarchical(**settings)


def test_data_without_super_classes_and_too_few_images() -> None:
    with pytest.raises(UserError, match="the data have no super-classes"):
        HierarchicalSampler(CLASSES, None, 24, 3, 4, seed=0)
    with pytest.raises(UserError, match="a batch needs 9 images, the data have 8"):
        RandomSampler(range(8), 9, seed=0)
    assert list(RandomSampler(range(2), 9, drop_last=False, seed=0))


HIERARCHICAL = "dataset.sampler={name: HierarchicalSampler, kwargs: {batch_size: 24, samples_per_class: 3, %s}}"


def test_samplers_are_chosen_and_checked_by_the_configuration() -> None:
    composed = compose([HIERARCHICAL % "batches_per_super_pair: 2", "dataset.sampler.kwargs.batch_size=48"])
    assert composed.dataset.sampler.kwargs["batch_size"] == 48
    assert compose(["dataset.sampler={name: RandomSampler, kwargs: {batch_size: 8}}"]).dataset.sampler.kwargs
    # samples_per_class above the images of the check's own data is no mistake
    compose(["dataset.sampler.kwargs.samples_per_class=32"])
    for mistake, said in {
        HIERARCHICAL % "nb_categories: 2": "needs 'batches_per_super_pair'",
        HIERARCHICAL % "batches_per_super_pairs: 2": "did you mean 'batches_per_super_pair'",
        HIERARCHICAL % "labels: 2": "unknown setting of HierarchicalSampler 'labels'",
        "dataset.sampler.name=MPerClasSampler": "did you mean 'MPerClassSampler'",
        "dataset.sampler.name=RandomSampler": "unknown setting of RandomSampler 'samples_per_class'",
        "dataset.sampler={name: RandomSampler, kwargs: {batch_size: 8, drop_last: 1}}": "drop_last must be",
    }.items():
        with pytest.raises(UserError, match=said):
            compose([mistake])
