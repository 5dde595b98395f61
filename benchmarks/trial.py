"""What a trial costs beside its network: imports, construction, the first batch; and where an epoch on emoji goes.

python -m benchmarks.trial

The network is the four-block one on the emoji vendors, one thread: no data set here has less to learn from a picture.
"""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.harness import Row, in_turn, median, table
from trainables import Training, compose
from trainables.building import build_dataset, build_model
from trainables.experiment import Experiment

SUBJECT = "trial"
# as in search_spaces/emoji.yaml
TRIAL = ("experience.num_threads=1", "experience.holdout=0.3", "experience.test_eval_freq=-1")
SHOWN = ("torch", "torchvision", "sympy", "numpy", "scipy", "pydantic", "hydra", "trainables")
PARTS = ("load", "forward", "loss", "optimizer", "evaluate")


def run(full: bool, overrides: Sequence[str] = (), rounds: int | None = None) -> list[Row]:
    """full: more epochs and processes, where their number is not given. overrides: of the trial, behind TRIAL."""
    experiment = compose([*TRIAL, *overrides])
    build_dataset(experiment).ensure()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rounds = rounds or (5 if full else 3)
        return [*_starting(rounds), *_imports(), *_constructing(experiment, rounds), *_epoch(experiment, rounds)]
    finally:
        torch.set_num_threads(threads)


def _starting(rounds: int) -> list[Row]:
    def lists_its_commands() -> None:
        subprocess.run([sys.executable, "-m", "tuner", "--help"], check=True, stdout=subprocess.DEVNULL)

    help_s = median(in_turn({"help": lists_its_commands}, rounds)["help"], "wall")
    said = _python("import sys, trainables.trainable; print('mlflow' in sys.modules)").stdout
    return [
        Row(SUBJECT, "roadmap-tune --help", 0.5, help_s, at_least=False, unit="s"),
        Row(SUBJECT, "a worker imports MLflow", 0, float(said.strip() == "True"), at_least=False, unit="times"),
    ]


def _imports() -> list[Row]:
    """What each package takes of the imports of a training in a fresh process."""
    spent: dict[str, float] = defaultdict(float)
    for line in _python("import trainables.training", "-X", "importtime").stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if own.strip().isdigit():
            package = name.strip().partition(".")[0]
            spent[package if package in SHOWN else "the rest"] += int(own) / 1e6
    rows = [
        Row(SUBJECT, f"import of {name}", None, seconds, unit="s")
        for name, seconds in sorted(spent.items(), key=lambda pair: -pair[1])
    ]
    return [Row(SUBJECT, "import of a training in a fresh process", None, sum(spent.values()), unit="s"), *rows]


def _constructing(experiment: Experiment, rounds: int) -> list[Row]:
    """In a process that has trained before, as the actor of a sweep has."""

    def first_batch() -> None:
        training = Training(experiment)
        next(iter(training._loader.epoch(1)))
        training.close()

    ways = {
        "data: the train split": lambda: build_dataset(experiment).train(),
        "model": lambda: build_model(experiment),
        "a training": lambda: Training(experiment).close(),
        "a training and its first batch": first_batch,
    }
    times = in_turn(ways, rounds)
    last = list(ways)[-1]
    return [
        Row(SUBJECT, f"warm: {name}", 1.0 if name == last else None, median(timings, "wall"), False, "s")
        for name, timings in times.items()
    ]


def _epoch(experiment: Experiment, rounds: int) -> list[Row]:
    """CPU time of an epoch by what it is spent on, the median of some epochs each."""
    training = Training(experiment)
    clock = _Clock()
    step = training._step
    training._step = replace(
        step,
        forward=_Timed(step.forward, clock, "forward"),
        objective=_Timed(step.objective, clock, "loss"),
        optimization=_Timed(step.optimization, clock, "optimizer", "step"),
    )
    training.evaluate = partial(clock.timed, "evaluate", training.evaluate)  # type: ignore[method-assign]
    training._loader = _TimedLoader(training._loader, clock)  # type: ignore[assignment]
    training.epoch()  # buffers, and what is imported late
    epochs = []
    for _ in range(rounds):
        clock.spent.clear()
        training.finished_epochs = 0  # as many as are measured, however short the trial
        started = time.process_time()
        training.epoch()
        whole = time.process_time() - started
        found = {part: clock.spent[part] for part in PARTS}
        found["backward, and the rest"] = whole - sum(found.values())
        epochs.append({"whole": whole, **found})
    training.close()
    middle = {part: sorted(epoch[part] for epoch in epochs)[len(epochs) // 2] for part in epochs[0]}
    shares = sorted(epoch["evaluate"] / epoch["whole"] for epoch in epochs)
    return [
        *(Row(SUBJECT, f"emoji epoch: {part}", None, seconds, unit="s") for part, seconds in middle.items()),
        Row(SUBJECT, "emoji epoch: share of the evaluation", 10, 100 * shares[len(shares) // 2], False, "%"),
    ]


class _Clock:
    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def timed(self, part: str, call: Any, *given: Any, **more: Any) -> Any:
        started = time.process_time()
        try:
            return call(*given, **more)
        finally:
            self.spent[part] += time.process_time() - started


class _Timed:
    """An object whose call, or whose one method, is timed; everything else is its own."""

    def __init__(self, inner: Any, clock: _Clock, part: str, method: str = "__call__") -> None:
        self._inner, self._clock, self._part, self._method = inner, clock, part, method

    def __call__(self, *given: Any, **more: Any) -> Any:
        return self._clock.timed(self._part, self._inner, *given, **more)

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._inner, name)
        if name != self._method:
            return own
        return lambda *given, **more: self._clock.timed(self._part, own, *given, **more)


class _TimedLoader(_Timed):
    def __init__(self, inner: Any, clock: _Clock) -> None:
        super().__init__(inner, clock, "load", method="")

    def __len__(self) -> int:
        return len(self._inner)

    def epoch(self, number: int) -> Any:
        batches = iter(self._inner.epoch(number))
        while (batch := self._clock.timed("load", next, batches, None)) is not None:
            yield batch


def _python(program: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *flags, "-c", program], capture_output=True, text=True, check=True)


def main(argv: Sequence[str] = ()) -> None:
    print(table(run("--full" in argv)))


if __name__ == "__main__":
    main(sys.argv[1:])
