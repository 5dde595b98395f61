"""What `roadmap-train` does beside training: look ahead without training, and evaluate a checkpoint."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from torch import Tensor

from trainables import checkpoint, estimate
from trainables.building import build_dataset, build_losses, build_optimizers, without_downloads
from trainables.composition import compose, from_values
from trainables.console import Bars, readable_size
from trainables.data import LabelledImages, RetrievalSplit
from trainables.errors import UserError, unknown
from trainables.evaluation import bootstrap_intervals, chosen_engine, metric_means
from trainables.experiment import Experiment
from trainables.reference_checkpoint import read_reference
from trainables.splitting import train_and_validation
from trainables.training import Training

TRAIN, VALIDATION, TEST = "train", "val", "test"
# what an evaluation may change of a checkpoint's experiment: where things lie, how fast, and what is measured
CHANGEABLE = (
    "dataset.kwargs.data_dir",
    "dataset.on_bad_image",
    "dataset.cache",
    "dataset.ks",
    "experience.with_AP",
    "experience.eval_bs",
    "experience.eval_split",
    "experience.num_workers",
    "experience.num_threads",
    "experience.pin_memory",
)


def look_ahead(overrides: Sequence[str]) -> Iterator[str]:
    """The resolved Experiment, parameter counts, the memory of a step, images by split: nothing is trained or written.

    UserError for what `compose` refuses and, after the rest has been said, where the data set is not here.
    """
    experiment = compose(overrides)
    yield yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, width=120).rstrip()
    net = estimate.untrained(experiment)
    build_optimizers(experiment.optimizer, net, build_losses(experiment))  # what none of them trains is frozen
    yield ""
    for part, (count, trained) in estimate.parameters(net).items():
        if count:
            yield f"{part}: {count:,} parameters" + (f", {trained:,} of them trained" if trained != count else "")
    need = estimate.memory_of_a_step(experiment, net)
    pieces = ", ".join(f"{name} {readable_size(held)}" for name, held in vars(need).items() if held)
    yield f"memory of a step: about {readable_size(need.total)} ({pieces})"
    dataset = build_dataset(experiment, cached=False)
    train, validation = train_and_validation(experiment, dataset.train())
    yield _counted(TRAIN, train)
    for split in (*(() if validation is None else (validation,)), *dataset.test()):
        yield _counted(split.name, split.query)
        if split.gallery is not None:
            yield _counted(f"{split.name} gallery", split.gallery)


class Evaluated(NamedTuple):
    """Of one split: metric -> its mean over the queries, and the 95 % interval of that mean (landmarks: none)."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def evaluate(
    path: Path, split: str, overrides: Sequence[str], bars: Bars, reference: bool = False
) -> dict[str, Evaluated]:
    """What the network in a checkpoint reaches, by split.

    split: "train", "val", "test" (each test split of the data set), or the name of one of those. overrides: of
    CHANGEABLE; for a checkpoint of the reference's code, its whole training. UserError: no checkpoint, no such split.
    """
    with _restored(path, overrides, bars, reference) as training:
        return {one.name: _evaluated(training, one, bars) for one in _named(training, split)}


def values_on_test(path: Path, bars: Bars) -> dict[str, dict[str, np.ndarray]]:
    """Test split -> metric -> (N,) by query, NaN where a query has no positive, of the network in a checkpoint."""
    with _restored(path, (), bars) as training:
        return {one.name: training.by_query(one) for one in _named(training, TEST)}


class Seen(NamedTuple):
    """A split as a network sees it: its images and their embeddings (N, D)."""

    images: LabelledImages
    embeddings: Tensor


def seen_in_validation(path: Path, bars: Bars) -> Seen:
    """The classes that the training of a checkpoint held out. UserError where it held out none."""
    with _restored(path, (), bars) as training:
        (split,) = _named(training, VALIDATION)
        return Seen(split.query, training.embed(split.query))


@contextmanager
def _restored(path: Path, overrides: Sequence[str], bars: Bars, reference: bool = False) -> Iterator[Training]:
    if reference:
        experiment = without_downloads(compose(overrides))
    else:
        state = checkpoint.read(path)
        experiment = without_downloads(_changed(checkpoint.experiment_of(state, path), overrides))
    build_dataset(experiment).ensure(bars.update)
    training = Training(experiment, progress=bars.update)
    try:
        if reference:
            read_reference(path, training.net)
        else:
            training.load_network(path)
        yield training
    finally:
        training.close()


def _evaluated(training: Training, split: RetrievalSplit, bars: Bars) -> Evaluated:
    if split.ground_truth is not None:
        return Evaluated(training.evaluate(split), {})
    gallery = split.query if split.gallery is None else split.gallery
    engine = chosen_engine(len(split.query), len(gallery), training.net.embed_dim, device=training.device)
    bars.line(f"{split.name}: {len(split.query):,} queries against {len(gallery):,} images; {engine}")
    values = training.by_query(split)
    return Evaluated(metric_means(values), bootstrap_intervals(values))


def _changed(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    values: dict[str, Any] = experiment.model_dump(mode="json")
    for text in overrides:
        key, equals, written = text.partition("=")
        if not equals:
            raise UserError(f"cannot read {text!r}: an override is KEY=VALUE")
        if key not in CHANGEABLE:
            raise unknown("setting of an evaluation", key, CHANGEABLE)
        *parents, last = key.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        node[last] = yaml.safe_load(written)
    return from_values(values)


def _named(training: Training, name: str) -> Iterator[RetrievalSplit]:
    """The splits that a name means; the test splits are opened only where they are asked for."""
    if name == TRAIN:
        yield training.train
    elif name == VALIDATION:
        if training.validation is None:
            raise UserError("this training holds out no classes: --split takes train or test")
        yield training.validation
    else:
        splits = training.test_splits()
        chosen = [split for split in splits if name in (TEST, split.name)]
        if not chosen:
            raise unknown("split", name, [TRAIN, VALIDATION, TEST, *(split.name for split in splits)])
        yield from chosen


def _counted(name: str, images: LabelledImages) -> str:
    return f"{name}: {len(images):,} images of {images.num_classes:,} classes"
