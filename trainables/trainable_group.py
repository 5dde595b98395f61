"""One training spread over several Ray workers, one GPU each, behind the face of a Training.

The trial's own actor holds no rank: it starts the workers in the bundles of its placement group, asks all of them for
an epoch, and is free to notice that one is gone while the others wait for it.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trainables import scratch, usage
from trainables.building import unreadable
from trainables.checkpoint import CHECKPOINT
from trainables.data import seal_test_splits
from trainables.distributed import World
from trainables.errors import DataMissing, ProcessLost, first_line
from trainables.experiment import Experiment
from trainables.folded import FoldedTraining, training_of
from trainables.rendezvous import LOOPBACK, device_number, find_store, joined, open_store
from trainables.training import Report, Training

Files = dict[str, bytes]  # name -> content, of a checkpoint's folder

SECONDS_TO_START = 180.0
SECONDS_TO_EXPLAIN = 15.0  # after a first failure, until the worker that caused it is known
SECONDS_TO_CLOSE = 10.0


class Worker:
    """One rank, in a process of its own."""

    def __init__(self, rank: int, size: int) -> None:
        self._world = World(rank, size, device_number(0))  # Ray shows a worker its own GPU alone
        self._exit = contextlib.ExitStack()
        self._store: Any = None
        self._training: Training | FoldedTraining | None = None
        seal_test_splits()

    def place(self) -> tuple[str, str]:
        """(node, its address)."""
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def open_store(self, address: str) -> int:
        """The port at which the other ranks find this one."""
        self._store = open_store(address)
        return int(self._store.port)

    def join(self, address: str, port: int) -> None:
        self._store = self._store or find_store(address, port)
        self._exit.enter_context(joined(self._world, address, self._store))

    def build(self, experiment: str, files: Files | None, scheduled: bool) -> int:
        """The training, from the start or from a checkpoint's files; the epochs it has finished."""
        composed = Experiment.model_validate_json(experiment)
        try:
            training = training_of(composed, self._world)
        except Exception:
            raise_if_unreadable(composed)
            raise
        if files is not None:
            with _as_folder(files) as folder:
                training.load(folder / CHECKPOINT, scheduled)
        self._training = training
        return training.finished_epochs

    def epoch(self) -> Report:
        assert self._training is not None
        try:
            return usage.measured(self._training.epoch)
        except Exception:
            raise_if_unreadable(self._training.experiment)
            raise

    def state(self) -> Files:
        """The checkpoint as bytes: the trial's actor may be on another node."""
        assert self._training is not None
        with _as_folder({}) as folder:
            self._training.save(folder / CHECKPOINT)
            return _files(folder)

    def card(self) -> str:
        return usage.card()

    def visible_gpus(self) -> str:
        return os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def close(self) -> None:
        """Ends the training, not the worker."""
        if self._training is not None:
            self._training.close()
            self._training = None


def raise_if_unreadable(experiment: Experiment) -> None:
    """DataMissing where a training failed since its data set is not, or no longer, on this node."""
    reason = unreadable(experiment)
    if reason:
        raise DataMissing(ray.get_runtime_context().get_node_id(), reason)


@contextlib.contextmanager
def _as_folder(files: Files) -> Iterator[Path]:
    with scratch.folder() as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        yield folder


def _files(folder: Path) -> Files:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class Workers:
    """`size` ranks of one process group, that one training after another may use. ProcessLost where one is gone.

    A failed call leaves its collectives half done: `broken` workers are of no more use but to be ended.
    """

    def __init__(self, size: int) -> None:
        self.broken = False
        self._actors = _start(size)
        try:
            places = self.all("place", seconds=SECONDS_TO_START)
            address = LOOPBACK if len({node for node, _ in places}) == 1 else places[0][1]
            self.all("join", address, self.leader("open_store", address))
        except BaseException:
            self.end()
            raise

    def leader(self, method: str, *arguments: Any) -> Any:
        """What the leader's method returns."""
        return self._results([getattr(self._actors[0], method).remote(*arguments)], None)[0]

    def all(self, method: str, *arguments: Any, seconds: float | None = None) -> list[Any]:
        """What each worker's method returns; where one fails, its error is raised and the others are not waited for."""
        return self._results([getattr(actor, method).remote(*arguments) for actor in self._actors], seconds)

    def end(self) -> None:
        """Politely, so that the loaders' processes end too, then for certain."""
        if not self.broken:
            with contextlib.suppress(Exception):
                self.all("close", seconds=SECONDS_TO_CLOSE)
        self.broken = True
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def _results(self, calls: list[Any], seconds: float | None) -> list[Any]:
        try:
            return _results(calls, seconds)
        except BaseException:
            self.broken = True
            raise


def _results(calls: list[Any], seconds: float | None) -> list[Any]:
    until = None if seconds is None else time.monotonic() + seconds
    waiting, lost = calls, None
    while waiting:
        left = None if until is None else max(0.0, until - time.monotonic())
        ready, waiting = ray.wait(waiting, num_returns=1, timeout=left)
        if not ready:
            break
        failure = _failure(ready[0])
        if failure is not None and not isinstance(failure, ProcessLost):
            raise failure
        if failure is not None and lost is None:
            # this one lost another; why that one left may be known in a moment
            lost, until = failure, time.monotonic() + SECONDS_TO_EXPLAIN
    if lost is not None:
        raise lost
    if waiting:
        raise ProcessLost(f"{len(waiting)} of {len(calls)} workers did not answer in {seconds:.0f} s")
    results: list[Any] = ray.get(calls)
    return results


def _failure(call: Any) -> Exception | None:
    """Why a worker's call failed, if it did: what the worker raised, with its traceback, or ProcessLost."""
    try:
        ray.get(call)
    except RayTaskError as error:
        cause: Exception = error.cause
        cause.__cause__ = error
        return cause
    except RayError as error:
        return ProcessLost(f"a worker of this trial is gone: {first_line(error)}")
    return None


def _start(size: int) -> list[Any]:
    """A worker in each bundle of the placement group that this process is in."""
    group = ray.util.get_current_placement_group()
    assert group is not None and len(group.bundle_specs) == size, "one bundle for each worker"
    remote = ray.remote(Worker)
    return [
        remote.options(
            num_cpus=bundle.get("CPU", 0),
            num_gpus=bundle.get("GPU", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        ).remote(rank, size)
        for rank, bundle in enumerate(group.bundle_specs)
    ]


class TrainingGroup:
    """Training's epoch, save and close, done by workers; a checkpoint may come from any number of them.

    Raises what a worker raises: Diverged, torch.OutOfMemoryError, a bug; and ProcessLost.
    """

    def __init__(
        self, experiment: Experiment, workers: Workers, start: Path | None = None, scheduled: bool = False
    ) -> None:
        self.experiment = experiment
        self._workers = workers
        state = None if start is None else ray.put(_files(start.parent))
        self.finished_epochs: int = workers.all("build", experiment.model_dump_json(), state, scheduled)[0]
        self.card: str = workers.leader("card")  # the trial's own actor holds none

    @property
    def done(self) -> bool:
        return self.finished_epochs >= self.experiment.experience.max_iter

    def epoch(self) -> Report:
        """The leader's report of the next epoch."""
        report: Report = self._workers.all("epoch")[0]
        self.finished_epochs = report.epoch
        return report

    def save(self, path: str | Path) -> None:
        """The checkpoint, the same as that of one process."""
        for name, content in self._workers.leader("state").items():
            (Path(path).parent / name).write_bytes(content)

    def close(self) -> None:
        """The workers are free for the next training; broken ones end."""
        if not self._workers.broken:
            with contextlib.suppress(Exception):
                self._workers.all("close", seconds=SECONDS_TO_CLOSE)
        if self._workers.broken:
            self._workers.end()
