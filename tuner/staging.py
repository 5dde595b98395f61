"""The data sets of a sweep on every node that its trials may come to: built or fetched there, once, where they can be.

Each node works for itself and under the locks of the data sets: where the folder is shared, one builds and the others
wait and find it built.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trainables.errors import first_line
from tuner.plan import Plan, prepare_data
from tuner.room import Machine

Progress = Callable[[str, int, int], None]
BUILT, THERE, FAILED = "built", "there", "failed"
SECONDS_BETWEEN_SIGNS = 1.0


@dataclass(frozen=True)
class Staged:
    """What became of the data on one node. state: BUILT (something had to be made), THERE or FAILED."""

    state: str
    told: tuple[str, ...]  # what is in the data sets, or why they are not
    seconds: float


def stage_here(plan: Plan, progress: Progress) -> Staged:
    """The data sets on this machine."""
    began, made = time.monotonic(), False

    def heard(what: str, done: int, total: int) -> None:
        nonlocal made
        made = True
        progress(what, done, total)

    try:
        told = tuple(prepare_data(plan, heard))
    except Exception as error:  # whatever is wrong with one node's disk, the others are told of too
        return Staged(FAILED, (first_line(error),), time.monotonic() - began)
    return Staged(BUILT if made else THERE, told, time.monotonic() - began)


def stage(plan: Plan, progress: Progress) -> dict[str, Staged]:
    """node's address -> what became of it, on each node of the joined cluster that has room for a trial's worker."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0, num_returns="streaming")(_staging)
    working: dict[Any, str] = {}
    for node in ray.nodes():
        machine = Machine(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))
        if node["Alive"] and machine.bundles(plan.sweep.resources):
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            working[task.options(scheduling_strategy=here).remote(plan)] = node["NodeManagerAddress"]
    found: dict[str, Staged] = {}
    while working:
        ready, _ = ray.wait(list(working), num_returns=1)
        for sign in ready:
            said = _next(sign)
            if isinstance(said, Staged):
                found[working.pop(sign)] = said
            else:
                what, done, total = said
                progress(f"{working[sign]}: {what}", done, total)
    return found


def _next(signs: Any) -> "Staged | tuple[str, int, int]":
    import ray

    try:
        said: Staged | tuple[str, int, int] = ray.get(next(signs))
    except (ray.exceptions.RayError, StopIteration) as error:
        return Staged(FAILED, (first_line(error),), 0.0)
    return said


def _staging(plan: Plan) -> "Iterator[Staged | tuple[str, int, int]]":
    """Runs on a node: how far it is, once a second, and what became of it."""
    signs: queue.Queue[Staged | tuple[str, int, int]] = queue.Queue()
    work = threading.Thread(target=lambda: signs.put(stage_here(plan, lambda *sign: signs.put(sign))), daemon=True)
    work.start()
    due = 0.0
    while True:
        said = signs.get()
        if isinstance(said, Staged) or time.monotonic() >= due:
            due = time.monotonic() + SECONDS_BETWEEN_SIGNS
            yield said
        if isinstance(said, Staged):
            return
