"""The data sets of a sweep on every node that its trials may come to: built or fetched there, once, where they can be.

Each node works for itself and under the locks of the data sets: where the folder is shared, one builds and the others
wait and find it built. What they are at they say to `Signs`, which the driver asks; nothing waits for it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainables import scratch
from trainables.console import Bars
from trainables.errors import first_line
from trainables.experiment import Experiment
from tuner.plan import prepare_data
from tuner.room import hosting
from tuner.schema import Resources
from tuner.signs import SECONDS_BETWEEN_SIGNS, Sign, Signs, Sparing

Progress = Callable[[str, int, int], None]
BUILT, THERE, FAILED = "built", "there", "failed"
STARTING, LOOKING = "starts", "looks at what is there"  # before a node makes anything


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


def stage(experiments: Sequence[Experiment], resources: Resources, bars: Bars) -> dict[str, Staged]:
    """node's address -> what became of it, on each node of the joined cluster that has room for a trial's worker.

    resources: of a trial. bars: has one for each node that works, and a line for each that fails, at once.
    """
    import ray

    signs = ray.remote(num_cpus=0)(Signs).options(scheduling_strategy=on_node(ray.get_runtime_context().get_node_id()))
    told: Any = signs.remote()
    task = ray.remote(num_cpus=0, max_retries=0)(_staged)
    working: dict[Any, tuple[str, str]] = {}  # -> address and id
    for listed in hosting(ray.nodes(), resources):
        address, node = listed["NodeManagerAddress"], listed["NodeID"]
        here = task.options(scheduling_strategy=on_node(node))
        working[here.remote(experiments, told, address)] = (address, node)
        bars.update(STARTING, 0, 1, of=address)
    found: dict[str, Staged] = {}
    nodes, asked = len(working), told.said.remote()
    while working:
        ready, _ = ray.wait(list(working), num_returns=1, timeout=SECONDS_BETWEEN_SIGNS)
        for reference in ready:
            address, node = working.pop(reference)
            staged = found[address] = replace(_result(reference), node=node)
            bars.end(address)
            if staged.state == FAILED:
                bars.line(f"{address}: {staged.told[0]}")
        if ray.wait([asked], timeout=0)[0]:
            at_work = {address for address, _ in working.values()}
            for address, sign in _answered(asked).items():
                if address in at_work:
                    bars.update(*sign, of=address)
            asked = told.said.remote()
        bars.update("nodes done", len(found), nodes)
    bars.end()
    return found


def on_node(node: str) -> Any:
    """Where Ray is to run something: there or nowhere. node: Ray's id of it."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _answered(asked: Any) -> dict[str, Sign]:
    import ray

    try:
        said: dict[str, Sign] = ray.get(asked)
    except ray.exceptions.RayError:  # the actor is gone: the work is done without its signs
        return {}
    return said


def _result(reference: Any) -> Staged:
    import ray

    try:
        staged: Staged = ray.get(reference)
    except ray.exceptions.RayError as error:  # the node is gone
        return Staged(FAILED, (first_line(error),), 0.0)
    return staged


def _staged(experiments: Sequence[Experiment], told: Any, address: str) -> Staged:
    """Runs on a node. told: the Signs."""
    scratch.remove_stale()  # of trials that were killed here
    say = Sparing(lambda sign: told.say.remote(address, sign))
    say(LOOKING, 0, 1)
    return stage_here(experiments, say)
