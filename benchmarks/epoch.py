"""Where an epoch on the emoji vendors goes: CPU time by part, one thread, of the four-block network and of Lite0.

python -m benchmarks.epoch [--full]

The evaluation is that of a sweep's trial: 30 % of the train classes are held out. Beside it stands the least that it
can take: the network's forward pass over the held-out images, were all the rest of it free.
"""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.harness import Row, table
from benchmarks.trial import TRIAL
from trainables import Training, compose
from trainables.building import build_dataset
from trainables.embedding import Embedded
from trainables.experiment import Experiment
from trainables.steps import Step

SUBJECT, GPU = "epoch", "gpu"
MODELS: dict[str, tuple[str, ...]] = {
    "conv4, 32 pixels": (),
    "Lite0, 64 pixels": ("model=lite0", "transform=emoji64", "optimizer=lite0"),
}
REST = "the rest"
PARTS = ("load", "forward", "loss", "backward", "optimizer", "evaluate", REST)
SHARE = 10.0  # % of an epoch of the smallest network


def run(full: bool, overrides: Sequence[str] = (), rounds: int | None = None, device: str = "cpu") -> list[Row]:
    """full: more epochs, where their number is not given. overrides: of the trainings, behind TRIAL.

    On a GPU it is the clock, with a wait for the device at the end of every part, under the subject "gpu".
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = []
        for name, model in MODELS.items():
            experiment = compose([*TRIAL, *model, *overrides])
            build_dataset(experiment).ensure()
            goal, epochs = (None, 3 if full else 1) if model else (SHARE, 9)
            rows += _rows(name, experiment, rounds or epochs, goal, device)
        return rows
    finally:
        torch.set_num_threads(threads)


def shares(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Model -> part -> its % of the epoch, from the rows of `run`; empty where it was not run."""
    seconds = {row.what: row.measured for row in rows if row.subject == SUBJECT}
    return {
        name: {part: 100 * seconds[f"{name}: {part}"] / seconds[f"{name}: whole epoch"] for part in PARTS}
        for name in MODELS
        if f"{name}: whole epoch" in seconds
    }


def _rows(name: str, experiment: Experiment, rounds: int, goal: float | None, device: str) -> list[Row]:
    """Parts of the epoch of the middle length among `rounds`, after one that is not counted; medians of the shares."""
    subject = SUBJECT if device == "cpu" else GPU
    epochs = sorted(_epochs(experiment, rounds, device), key=lambda spent: spent["whole epoch"])
    middle = epochs[len(epochs) // 2]
    parts = [Row(subject, f"{name}: {part}", None, middle[part], unit="s") for part in ("whole epoch", *PARTS)]
    share = 100 * statistics.median(spent["evaluate"] / spent["whole epoch"] for spent in epochs)
    least = 100 * statistics.median(
        spent["embedding"] / (spent["whole epoch"] - spent["evaluate"] + spent["embedding"]) for spent in epochs
    )
    return [
        *parts,
        Row(subject, f"{name}: share of the evaluation", goal, share, False, "%"),
        Row(subject, f"{name}: share of it if it were the forward pass alone", None, least, unit="%"),
    ]


def _epochs(experiment: Experiment, rounds: int, device: str) -> Iterator[Mapping[str, float]]:
    """Seconds of each epoch by part, "embedding" (the forward pass inside "evaluate") and "whole epoch"."""
    training, clock = Training(experiment, device), _Clock(time.process_time if device == "cpu" else _when_done)
    _watch(training, clock)
    for number in range(rounds + 1):
        clock.spent.clear()
        training.finished_epochs = 0  # as many as are measured, however short the trial
        started = clock.now()
        training.epoch()
        whole = clock.now() - started
        if number:  # the first makes buffers and imports what is imported late
            rest = whole - sum(clock.spent[part] for part in PARTS if part != REST)
            yield {**clock.spent, REST: rest, "whole epoch": whole}
    training.close()


def _watch(training: Training, clock: "_Clock") -> None:
    """Puts the clock around every part of the training."""

    class TimedStep(Step):
        def _embedded(self, images: torch.Tensor) -> Embedded:
            embedded = super()._embedded(images)
            return replace(embedded, backward=_Timed(embedded.backward, clock, "backward"))

    step = training._step
    watched = replace(
        step,
        forward=_Timed(step.forward, clock, "forward"),
        objective=_Timed(step.objective, clock, "loss"),
        optimization=_Timed(step.optimization, clock, "optimizer", "zero_grad", "step"),
    )
    training._step = TimedStep(**vars(watched))
    training._evaluator._forward = _Timed(training._evaluator._forward, clock, "embedding")  # type: ignore[assignment]
    training._evaluator = _Timed(training._evaluator, clock, "evaluate", "evaluate")  # type: ignore[assignment]
    training._loader = _TimedLoader(training._loader, clock)  # type: ignore[assignment]


def _when_done() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


class _Clock:
    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.spent = now, defaultdict[str, float](float)

    def timed(self, part: str, call: Any, *given: Any, **more: Any) -> Any:
        started = self.now()
        try:
            return call(*given, **more)
        finally:
            self.spent[part] += self.now() - started


class _Timed:
    """An object whose call, and whose methods of these names, are timed; everything else is its own."""

    def __init__(self, inner: Any, clock: _Clock, part: str, *methods: str) -> None:
        self._inner, self._clock, self._part, self._methods = inner, clock, part, methods

    def __call__(self, *given: Any, **more: Any) -> Any:
        return self._clock.timed(self._part, self._inner, *given, **more)

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._inner, name)
        if name not in self._methods:
            return own
        return lambda *given, **more: self._clock.timed(self._part, own, *given, **more)


class _TimedLoader(_Timed):
    def __init__(self, inner: Any, clock: _Clock) -> None:
        super().__init__(inner, clock, "load")

    def __len__(self) -> int:
        return len(self._inner)

    def epoch(self, number: int) -> Any:
        batches = iter(self._inner.epoch(number))
        while (batch := self._clock.timed("load", next, batches, None)) is not None:
            yield batch


def main(argv: Sequence[str] = ()) -> None:
    print(table(run("--full" in argv)))


if __name__ == "__main__":
    main(sys.argv[1:])
