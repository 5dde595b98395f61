"""What a trial costs before its first epoch: imports, construction, the first batch, on an actor that lives on.

python -m benchmarks.trial

The network is the four-block one on the emoji vendors, one thread: no data set here has less to learn from a picture.
"""

import contextlib
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
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


def run(full: bool, overrides: Sequence[str] = (), rounds: int | None = None) -> list[Row]:
    """full: more epochs and processes, where their number is not given. overrides: of the trial, behind TRIAL."""
    experiment = compose([*TRIAL, *overrides])
    build_dataset(experiment).ensure()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rounds = rounds or (5 if full else 3)
        return [*_starting(rounds), *_imports(), *_constructing(experiment, rounds), *_on_an_actor(experiment, rounds)]
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
    return [
        Row(SUBJECT, f"in this process, again: {name}", None, median(timings, "wall"), unit="s")
        for name, timings in times.items()
    ]


def _on_an_actor(experiment: Experiment, rounds: int) -> list[Row]:
    """A trainable of Ray Tune in an actor, one trial after another, as Tune calls it with reuse_actors."""
    import ray

    from trainables.trainable import RetrievalTrainable

    settled = {"resume_from": None, "scheduled": False, "workers": 1, "refused": None}
    trial = {"experiment": experiment.model_dump_json(), **settled}
    waits = []
    with _ray() as actors:
        actor = actors.remote(RetrievalTrainable).remote({**trial, "number": 0})
        ray.get(actor.train.remote())  # a first trial: imports
        for number in range(1, rounds + 1):
            started = time.perf_counter()
            assert ray.get(actor.reset.remote({**trial, "number": number}))
            result = ray.get(actor.train.remote())
            waits.append(time.perf_counter() - started - result["time/epoch_s"])
    what = "a warm Ray actor: from a trial's start to its first epoch's, the report's way back included"
    return [Row(SUBJECT, what, 1.0, statistics.median(waits), at_least=False, unit="s")]


@contextlib.contextmanager
def _ray() -> Iterator[Any]:
    """Ray on this machine alone, gone with its files when the block ends."""
    import ray

    with tempfile.TemporaryDirectory(prefix="rt-", ignore_cleanup_errors=True) as folder:
        try:
            ray.init(
                num_cpus=1,
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            yield ray
        finally:
            ray.shutdown()


def _python(program: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *flags, "-c", program], capture_output=True, text=True, check=True)


def main(argv: Sequence[str] = ()) -> None:
    print(table(run("--full" in argv)))


if __name__ == "__main__":
    main(sys.argv[1:])
