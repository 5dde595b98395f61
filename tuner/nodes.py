"""What the nodes of a cluster see, asked on the nodes themselves: the storage, the data."""

import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables import bucket
from trainables.console import Bars
from trainables.errors import DataMissing, UserError, first_line
from trainables.experiment import Experiment
from tuner import places, probe, staging
from tuner.room import Room, hosting, machine_of, of_ray
from tuner.schema import Resources
from tuner.signs import leave_mark
from tuner.sweep import Sweep

SECONDS_TO_ANSWER = 180.0  # a node unpacks the code and starts a process first
SECONDS_FOR_A_PLACE = 600.0  # of one card: a cloud may have to start the node first
SECONDS_TO_COME = 180.0
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Prepared:
    """The data on the nodes. told: what is in the data sets. without: id of a node that has them not -> why."""

    told: list[str]
    without: dict[str, str]


def room() -> Room:
    """Of the cluster that this process has joined, once the nodes are there that its launcher has announced."""
    until = time.monotonic() + SECONDS_TO_COME
    found, told = of_ray(), False
    while found.coming and time.monotonic() < until:
        if not told:
            print(f"waiting for {found.coming} nodes that are starting", file=sys.stderr, flush=True)
            told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
        found = of_ray()
    return found


def check_room(sweep: Sweep, concurrent: int | None = None) -> None:
    """NoRoom where so many of its trials at a time (`budget.concurrent`, if none is said) will never run."""
    if concurrent is not None:
        budget = sweep.budget.model_copy(update={"concurrent": concurrent})
        sweep = sweep.model_copy(update={"budget": budget})
    room().check(sweep)


def measure(experiment: Experiment) -> probe.Memory:
    """`probe.in_a_child` on a node that has a GPU to itself."""
    try:
        found: probe.Memory = on_some(probe.in_a_child, experiment, resources=Resources(cpu=1, gpu=1))
    except TimeoutError as error:
        raise UserError(f"the memory of a batch could not be measured: {error}") from None
    return found


def check_storage(sweep: Sweep) -> None:
    """UserError where a node does not see the sweep's storage as this one does, or cannot write there."""
    root = places.storage_of(sweep.folder)
    mark = bucket.below(root, f".nodes-{uuid.uuid4().hex}")
    if not bucket.is_bucket(root):
        _made(mark, sweep)
    try:
        for address, told in on_each(leave_mark, mark).items():
            if told["error"] or told["name"] not in bucket.names(mark):
                why = told["error"] or "what it writes there is not seen here"
                shared = "one bucket, and a right to it" if bucket.is_bucket(root) else "one folder, such as NFS"
                raise UserError(
                    f"storage={sweep.storage!r}: node {address} does not share {bucket.shown(root)} ({why}): "
                    f"all nodes need {shared}"
                )
    finally:
        bucket.remove(mark)


def prepare(experiments: Sequence[Experiment], sweep: Sweep, bars: Bars) -> Prepared:
    """The data sets on every node that a trial may come to, made where they can be.

    UserError where no node has them, or where those that do have no room for `budget.concurrent` trials.
    """
    import ray

    found = staging.stage(experiments, sweep.resources, bars)
    without = {
        staged.node: f"node {address}: {staged.told[0]}"
        for address, staged in found.items()
        if staged.state == staging.FAILED
    }
    why = next(iter(without.values()), "")
    if why and len(without) == len(found):
        raise UserError(f"no node has the data; {why}")
    if why:
        there = of_ray().less(machine_of(node["Resources"]) for node in ray.nodes() if node["NodeID"] in without)
        try:
            there.check(sweep)
        except probe.NoRoom as error:
            raise UserError(f"{why}; without it: {error}") from None
    told = next((staged.told for staged in found.values() if staged.state != staging.FAILED), ())
    return Prepared(list(told), without)


def on_each(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """node's address -> what the function gives there; UserError in one line where a node does not answer in time."""
    import ray

    asked = {
        ray.remote(function)
        .options(num_cpus=0, max_retries=0, scheduling_strategy=staging.on_node(node["NodeID"]))
        .remote(*arguments): node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"]
    }
    _, silent = ray.wait(list(asked), num_returns=len(asked), timeout=SECONDS_TO_ANSWER) if asked else ([], [])
    if silent:
        raise UserError(f"node {asked[silent[0]]} gives no answer within {SECONDS_TO_ANSWER:g} s")
    found = {}
    for reference, address in asked.items():
        try:
            found[address] = ray.get(reference)
        except ray.exceptions.RayError as error:
            raise UserError(f"node {address}: {first_line(error)}") from None
    return found


def on_some(
    function: Callable[..., Any],
    *arguments: Any,
    resources: Resources,
    data: Sequence[Experiment] = (),
    seconds: float | None = SECONDS_FOR_A_PLACE,
    meanwhile: Callable[[], object] = lambda: None,
) -> Any:
    """What the function gives on some node that has these resources free, as a worker of a trial needs them.

    data: whose data sets must be there; a node without them is passed over, UserError where every one is.

    TimeoutError where there is no answer in so many seconds; None: however long it takes, of a cluster with room.
    meanwhile: called about once a second.
    UserError where the node is lost time and again; what the function raises.
    """
    import ray

    without: dict[str, str] = {}
    while True:
        try:
            return _on_one(function, arguments, resources, data, without, seconds, meanwhile)
        except DataMissing as error:
            without[error.node] = error.reason
            if all(node["NodeID"] in without for node in hosting(ray.nodes(), resources)):
                raise UserError(f"no node has the data; {error.reason}") from None


def _on_one(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    resources: Resources,
    data: Sequence[Experiment],
    without: Mapping[str, str],
    seconds: float | None,
    meanwhile: Callable[[], object],
) -> Any:
    """`on_some`, on none of these nodes; DataMissing where the data are not on the one that it came to."""
    import ray

    from tuner.placement import elsewhere

    options: dict[str, Any] = {"label_selector": elsewhere(sorted(without))} if without else {}
    task = ray.remote(_with_data).options(
        num_cpus=resources.cpu, num_gpus=resources.gpu, resources=dict(resources.custom), **options
    )
    reference, began = task.remote(data, function, arguments), time.monotonic()
    while not ray.wait([reference], timeout=SECONDS_BETWEEN_LOOKS)[0]:
        meanwhile()
        if seconds is not None and time.monotonic() - began > seconds:
            ray.cancel(reference, force=True)
            raise TimeoutError(f"no node had room within {seconds:g} s")
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise UserError(f"a node of the cluster was lost: {first_line(error)}") from None


def _made(mark: str, sweep: Sweep) -> None:
    try:
        Path(mark).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        root = Path(mark).parent
        raise UserError(f"storage={sweep.storage!r}: {root} cannot be made ({error.strerror})") from None


def _with_data(data: Sequence[Experiment], function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Runs on a node. DataMissing where it cannot read a data set."""
    from trainables.trainable_group import raise_if_unreadable

    for experiment in data:
        raise_if_unreadable(experiment)
    return function(*arguments)
