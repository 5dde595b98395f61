"""The data sets of a sweep on every node that its trials may come to: built or fetched there, once, where they can be.

Each node works for itself and under the locks of the data sets: where the folder is shared, one builds and the others
wait and find it built.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainables.errors import first_line
from trainables.experiment import Experiment
from tuner.plan import prepare_data
from tuner.room import machine_of
from tuner.schema import Resources

Progress = Callable[[str, int, int], None]
BUILT, THERE, FAILED = "built", "there", "failed"
SECONDS_BETWEEN_SIGNS = 1.0


@dataclass(frozen=True)
class Staged:
    """What became of the data on one node. state: BUILT (something had to be made), THERE or FAILED."""

    state: str
    told: tuple[str, ...]  # what is in the data sets, or why they are not
    seconds: float
    node: str = ""  # its id, where it is one of a cluster


def stage_here(experiments: Sequence[Experiment], progress: Progress) -> Staged:
    """Their data sets on this machine."""
    began, made = time.monotonic(), False

    def heard(what: str, done: int, total: int) -> None:
        nonlocal made
        made = True
        progress(what, done, total)

    try:
        told = tuple(prepare_data(experiments, heard))
    except Exception as error:  # whatever is wrong with one node's disk, the others are told of too
        return Staged(FAILED, (first_line(error),), time.monotonic() - began)
    return Staged(BUILT if made else THERE, told, time.monotonic() - began)


def stage(experiments: Sequence[Experiment], resources: Resources, progress: Progress) -> dict[str, Staged]:
    """node's address -> what became of it, on each node of the joined cluster that has room for a trial's worker.

    resources: of a trial. progress: told once a second how many of the nodes are done.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_staged)
    working: dict[Any, tuple[str, str]] = {}  # -> address and id
    for node in ray.nodes():
        if node["Alive"] and machine_of(node["Resources"]).bundles(resources):
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            working[task.options(scheduling_strategy=here).remote(experiments)] = (
                node["NodeManagerAddress"],
                node["NodeID"],
            )
    found: dict[str, Staged] = {}
    nodes = len(working)
    while working:
        ready, _ = ray.wait(list(working), num_returns=1, timeout=SECONDS_BETWEEN_SIGNS)
        for reference in ready:
            address, node = working.pop(reference)
            found[address] = replace(_result(reference), node=node)
        left = ", ".join(address for address, _ in working.values())
        progress(f"data on {left or 'all nodes'}", nodes - len(working), nodes)
    return found


def _result(reference: Any) -> Staged:
    import ray

    try:
        staged: Staged = ray.get(reference)
    except ray.exceptions.RayError as error:  # the node is gone
        return Staged(FAILED, (first_line(error),), 0.0)
    return staged


def _staged(experiments: Sequence[Experiment]) -> Staged:
    """Runs on a node."""
    return stage_here(experiments, lambda what, done, total: None)
