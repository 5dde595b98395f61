"""One training spread over several Ray workers, one GPU each, behind the face of a Training.

The trial's own actor holds no rank: it starts the workers in the bundles of its placement group, asks all of them for
an epoch, and is free to notice that one is gone while the others wait for it.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trainables.distributed import World, WorkerLost
from trainables.experiment import Experiment
from trainables.rendezvous import LOOPBACK, device_number, find_store, joined, open_store
from trainables.training import Report, Training

SECONDS_TO_START = 180.0
SECONDS_TO_EXPLAIN = 15.0  # after a first failure, until the worker that caused it is known
SECONDS_TO_LEAVE = 5.0


class Worker:
    """One rank, in a process of its own."""

    def __init__(self, rank: int, size: int) -> None:
        self._world = World(rank, size, device_number(0))  # Ray shows a worker its own GPU alone
        self._exit = contextlib.ExitStack()
        self._store: Any = None
        self._training: Training | None = None

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

    def build(self, experiment: str, state: bytes | None) -> int:
        """The training, from the start or from a checkpoint's bytes; the epochs it has finished."""
        training = Training(Experiment.model_validate_json(experiment), world=self._world)
        if state is not None:
            with _as_file(state) as file:
                training.load(file)
        self._training = training
        return training.finished_epochs

    def epoch(self) -> Report:
        assert self._training is not None
        return self._training.epoch()

    def state(self) -> bytes:
        """The checkpoint as bytes: the trial's actor may be on another node."""
        assert self._training is not None
        with _as_file(b"") as file:
            self._training.save(file)
            return file.read_bytes()

    def visible_gpus(self) -> str:
        return os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def leave(self) -> None:
        if self._training is not None:
            self._training.close()


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "training.ckpt"
        file.write_bytes(content)
        yield file


class TrainingGroup:
    """Training's epoch, save and close, done by `size` workers; a checkpoint may come from any number of them.

    Raises what a worker raised (Diverged, torch.OutOfMemoryError, a bug), and WorkerLost where a process or node is
    gone. After an exception the group is of no more use but to be closed.
    """

    def __init__(self, experiment: Experiment, size: int, start: Path | None = None) -> None:
        self.experiment = experiment
        self.finished_epochs = 0
        self._workers = _start(size)
        try:
            self._all("place", seconds=SECONDS_TO_START)
            self._join()
            state = None if start is None else ray.put(start.read_bytes())
            self.finished_epochs = self._all("build", experiment.model_dump_json(), state)[0]
        except BaseException:
            self.close()
            raise

    @property
    def done(self) -> bool:
        return self.finished_epochs >= self.experiment.experience.max_iter

    def epoch(self) -> Report:
        """The leader's report of the next epoch."""
        report: Report = self._all("epoch")[0]
        self.finished_epochs = report.epoch
        return report

    def save(self, path: str | Path) -> None:
        """The checkpoint, the same as that of one process."""
        Path(path).write_bytes(self._result(self._workers[0].state.remote()))

    def close(self) -> None:
        """Ends the workers: politely, so that their loaders end too, then for certain."""
        leaving = [worker.leave.remote() for worker in self._workers]
        with contextlib.suppress(RayError):
            ray.wait(leaving, num_returns=len(leaving), timeout=SECONDS_TO_LEAVE)
        for worker in self._workers:
            ray.kill(worker)
        self._workers = []

    def visible_gpus(self) -> list[str]:
        """CUDA_VISIBLE_DEVICES of each worker."""
        return self._all("visible_gpus")

    def _join(self) -> None:
        places = self._all("place")
        address = LOOPBACK if len({node for node, _ in places}) == 1 else places[0][1]
        port = self._result(self._workers[0].open_store.remote(address))
        self._all("join", address, port)

    def _all(self, method: str, *arguments: Any, seconds: float | None = None) -> list[Any]:
        """What each worker's method returns; where one fails, the cause is raised and the others are not waited for."""
        calls = [getattr(worker, method).remote(*arguments) for worker in self._workers]
        until = None if seconds is None else time.monotonic() + seconds
        waiting, failure = calls, None
        while waiting:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready, waiting = ray.wait(waiting, num_returns=1, timeout=left)
            if not ready:
                break
            found = _failure(ready[0])
            if found is not None and not isinstance(found, WorkerLost):
                raise found
            if found is not None and failure is None:
                # this one lost another: whether that died or why it left may be known in a moment
                failure, until = found, time.monotonic() + SECONDS_TO_EXPLAIN
        if failure is not None:
            raise failure
        if waiting:
            raise WorkerLost(f"{len(waiting)} of {len(calls)} workers did not start in {seconds:.0f} s")
        return [self._result(call) for call in calls]

    def _result(self, call: Any) -> Any:
        failure = _failure(call)
        if failure is not None:
            raise failure
        return ray.get(call)


def _failure(call: Any) -> Exception | None:
    """Why a worker's call failed, if it did: what the worker raised, with its traceback, or WorkerLost."""
    try:
        ray.get(call)
    except RayTaskError as error:
        cause: Exception = error.cause
        cause.__cause__ = error
        return cause
    except RayError as error:
        return WorkerLost(f"a worker of this trial is gone: {str(error).splitlines()[0]}")
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
