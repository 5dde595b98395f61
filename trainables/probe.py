"""How long a training takes: some of its batches are trained and some of its validation images are embedded."""

import contextlib
import io
import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from trainables.data import RetrievalSplit
from trainables.experiment import Experiment
from trainables.training import Training

SKIPPED = 2  # batches at the start: memory is allocated, kernels are chosen, loaders begin
TIMED = 5  # batches after them
EVALUATED = 4  # whole batches of the validation split


@dataclass(frozen=True)
class Cost:
    """Of one training in one process on this machine."""

    epoch_s: float  # training and validation of one epoch
    checkpoint_bytes: int


class _Enough(Exception):
    """Enough batches have been seen."""


def measure(experiment: Experiment, device: str | None = None) -> Cost:
    """Trains a few batches in this process with random weights and writes nothing.

    UserError where the data set is not here. An epoch's time is that of a batch, the median of TIMED, times the batches
    of an epoch; and that of a validation image times their number.
    """
    threads = torch.get_num_threads()
    ends: list[float] = []
    planned = 1

    def follow(what: str, done: int, total: int) -> None:
        nonlocal planned
        if not what.startswith("epoch"):
            return
        planned = total
        ends.append(time.perf_counter())
        if done >= SKIPPED + TIMED:
            raise _Enough

    training = Training(_light(experiment), device=device, progress=follow)
    try:
        begun = time.perf_counter()
        with contextlib.suppress(_Enough):
            training.epoch()
        batches = [later - earlier for earlier, later in zip([begun, *ends], ends, strict=False)]
        trained = planned * statistics.median(batches[SKIPPED:] or batches)
        state = io.BytesIO()
        torch.save(training.state(), state)
        return Cost(trained + _validation(training), state.tell())
    finally:
        training.close()
        torch.set_num_threads(threads)


def _validation(training: Training) -> float:
    split = training.validation
    if split is None:
        return 0.0
    few = min(len(split.query), EVALUATED * training.experiment.experience.eval_bs)
    part = RetrievalSplit(split.name, split.query.subset(np.arange(few)), None)
    begun = time.perf_counter()
    training.evaluate(part)
    return (time.perf_counter() - begun) * len(split.query) / few


def _light(experiment: Experiment) -> Experiment:
    """No weights are fetched, no cache of pixels is built, nothing but the training is done in an epoch."""
    kwargs = {**experiment.model.kwargs, "pretrained": False, "weights": None}
    quiet = {"train_eval_freq": -1, "test_eval_freq": -1, "warm_up": -1}
    return experiment.model_copy(
        update={
            "model": experiment.model.model_copy(update={"kwargs": kwargs}),
            "dataset": experiment.dataset.model_copy(update={"cache": None}),
            "experience": experiment.experience.model_copy(update=quiet),
        }
    )
