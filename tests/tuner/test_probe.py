"""Shares of a GPU: how many trials find room, and whether their memory does."""

import pytest
import torch

from tests.tuner.conftest import WRITTEN
from trainables.composition import compose
from trainables.errors import UserError
from trainables.experiment import Experiment
from tuner.probe import GIB, Memory, _share, check_memory, check_shares, in_a_child, trials_per_card
from tuner.schema import Resources
from tuner.sweep import Sweep


def resources(gpu: float, workers: int = 1) -> Resources:
    return Resources(gpu=gpu, workers=workers)


@pytest.mark.parametrize(
    ("share", "trials"), [(1.0, 1), (2.0, 1), (0.5, 2), (0.34, 2), (0.33, 3), (0.25, 4), (0.1, 10)]
)
def test_trials_on_a_card(share: float, trials: int) -> None:
    assert trials_per_card(share) == trials


def test_the_share_that_is_advised_holds_as_many_as_fit() -> None:
    assert [_share(trials) for trials in (1, 2, 3, 4, 6, 15)] == [1.0, 0.5, 0.3, 0.25, 0.16, 0.066]
    assert all(trials_per_card(_share(trials)) == trials for trials in range(1, 200))


@pytest.mark.parametrize(("gpu", "workers", "concurrent", "cards", "said"), [
    (0.5, 1, 3, 1, "budget.concurrent=3 trials of resources.gpu=0.5: this machine's 1 GPU has room for 2: "
                   "--set budget.concurrent=2"),
    (0.4, 1, 5, 2, "room for 4"),
    (1.0, 2, 2, 3, "resources.workers=2: this machine's 3 GPUs have room for 1"),
    (2.0, 1, 2, 3, "room for 1"),
    (1.5, 1, 1, 4, "resources.gpu=1.5: a share of one GPU, such as 0.5, or whole ones"),
    (1.0, 4, 1, 3, "resources.gpu=1 a trial with resources.workers=4, this machine has 3"),
    (0.25, 1, 1, 0, "resources.gpu=0.25 a trial, this machine has 0"),
])  # fmt: skip
def test_more_trials_than_places_are_refused(gpu: float, workers: int, concurrent: int, cards: int, said: str) -> None:
    with pytest.raises(UserError) as raised:
        check_shares(resources(gpu, workers), concurrent, cards)
    assert said in str(raised.value)


def test_as_many_as_places_are_not() -> None:
    for gpu, workers, concurrent, cards in ((0.25, 1, 8, 2), (1.0, 2, 2, 4), (0.0, 1, 9, 0), (0.3, 1, 3, 1)):
        check_shares(resources(gpu, workers), concurrent, cards)


def shared(sweep: Sweep, gpu: float, concurrent: int = 4, workers: int = 1) -> Sweep:
    budget = sweep.budget.model_copy(update={"concurrent": concurrent})
    return sweep.model_copy(update={"resources": resources(gpu, workers), "budget": budget})


@pytest.fixture
def base() -> Experiment:
    return compose(WRITTEN["train"])  # type: ignore[arg-type]


def test_memory_is_held_against_the_card(sweep: Sweep, base: Experiment) -> None:
    def measured(experiment: Experiment) -> Memory:
        assert experiment is base
        return Memory(peak=24 * GIB, card=80 * GIB)

    check_memory(shared(sweep, 0.33), base, measured)  # three trials: 72 GiB
    check_memory(shared(sweep, 0.25, concurrent=3), base, measured)  # never more than three at a time
    with pytest.raises(UserError) as raised:
        check_memory(shared(sweep, 0.25), base, measured)
    assert str(raised.value) == (
        "resources.gpu=0.25: 4 trials of 24.0 GiB at the peak of a batch need 96.0 GiB, the card has 80.0: "
        "--set resources.gpu=0.3"
    )
    with pytest.raises(UserError, match=r"a smaller dataset\.sampler\.kwargs\.batch_size or experience\.sub_batch"):
        check_memory(shared(sweep, 1), base, lambda experiment: Memory(peak=90 * GIB, card=80 * GIB))


def test_nothing_is_measured_without_a_gpu_or_where_each_worker_has_one(sweep: Sweep, base: Experiment) -> None:
    def never(experiment: Experiment) -> Memory:
        raise AssertionError("nobody asked")

    check_memory(shared(sweep, 0), base, never)
    check_memory(shared(sweep, 1, workers=2), base, never)


@pytest.mark.slow
def test_a_child_measures_one_batch(sweep_file: object, base: Experiment) -> None:
    memory = in_a_child(base)
    assert 50 * 2**20 < memory.peak < memory.card


@pytest.mark.slow
def test_a_batch_that_cannot_be_trained_is_said_in_one_line(sweep_file: object, base: Experiment) -> None:
    dataset = base.dataset.model_copy(update={"kwargs": {"data_dir": "/nowhere"}})
    with pytest.raises(UserError, match="one batch of the base experiment could not be trained: ") as raised:
        in_a_child(base.model_copy(update={"dataset": dataset}))
    assert "\n" not in str(raised.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_peak_on_a_card(sweep_file: object, base: Experiment) -> None:
    memory = in_a_child(base)
    assert memory.card == torch.cuda.get_device_properties(0).total_memory
    assert 512 * 2**20 < memory.peak < memory.card
