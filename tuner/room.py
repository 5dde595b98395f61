"""How many trials at a time find a place on a Ray cluster: on its nodes, and on those that it may still start."""

import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.probe import NoRoom, trials_per_card
from tuner.schema import Resources
from tuner.sweep import Sweep

LAUNCHED = Path("~/ray_bootstrap_config.yaml")  # on a head that `ray up` started: the whole of its cluster file
# where something else scales the cluster: a JSON list of [{"CPU": 8, "GPU": 1, "max": 4}], set for the head
SCALES_TO = "ROADMAP_TUNE_SCALES_TO"
ACCELERATOR = "accelerator_type:"  # Ray counts 1 of it on a node with such a GPU
COUNTED = "CPU$|GPU$|max$|memory$|object_store_memory$|node:"  # no custom resources of a node


@dataclass(frozen=True)
class Machine:
    """What Ray counts of a node."""

    cpu: float
    gpu: float
    custom: dict[str, float] = field(default_factory=dict, compare=False)
    unseen: bool = field(default=False, compare=False)  # Ray will find out what its accelerators are

    def bundles(self, resources: Resources) -> int:
        """How many workers of trials it holds at a time."""
        has = {name: self.custom.get(name, self._accelerator(name)) for name in resources.custom}
        counts = [math.floor(has[name] / need + 1e-9) for name, need in resources.custom.items()]
        by_cpu = min([math.floor(self.cpu / resources.cpu), *counts])
        if resources.gpu == 0:
            return by_cpu
        if resources.gpu < 1:
            return min(by_cpu, math.floor(self.gpu) * trials_per_card(resources.gpu))
        return min(by_cpu, math.floor(self.gpu / resources.gpu))

    def _accelerator(self, name: str) -> float:
        return 1.0 if self.unseen and name.startswith(ACCELERATOR) else 0.0

    def __str__(self) -> str:
        named = [f"{value:g} {name}" for name, value in self.custom.items()]
        return " and ".join([f"{self.cpu:g} CPUs", *([f"{self.gpu:g} GPUs"] if self.gpu else []), *named])


@dataclass(frozen=True)
class Room:
    """The machines of a cluster, those that it may still start included. coming: announced and not there yet."""

    machines: tuple[Machine, ...]
    coming: int = 0

    def trials(self, resources: Resources) -> int:
        """How many at a time. The workers of one trial may be spread over machines."""
        return sum(machine.bundles(resources) for machine in self.machines) // resources.workers

    def less(self, machines: Iterable[Machine]) -> "Room":
        """Without these."""
        left = list(self.machines)
        for machine in machines:
            left.remove(machine)
        return Room(tuple(left), self.coming)

    def check(self, sweep: Sweep) -> None:
        """NoRoom where so many trials at a time will never run."""
        resources, concurrent = sweep.resources, sweep.budget.concurrent
        places = self.trials(resources)
        if concurrent <= places:
            return
        asked = f"resources.cpu={resources.cpu}" + (f", resources.gpu={resources.gpu:g}" if resources.gpu else "")
        asked += "".join(f", resources.custom.{name}={need:g}" for name, need in resources.custom.items())
        asked += f", resources.workers={resources.workers}" if resources.workers > 1 else ""
        if places == 0:
            raise NoRoom(f"{asked} a trial: the cluster has no room for one; it is {self}")
        raise NoRoom(
            f"budget.concurrent={concurrent} trials of {asked}: the cluster has room for {places}; it is {self}: "
            f"--set budget.concurrent={places}"
        )

    def __str__(self) -> str:
        kinds: dict[str, int] = {}
        for machine in self.machines:
            kinds[str(machine)] = kinds.get(str(machine), 0) + 1
        return ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "empty"


def of_nodes(nodes: Iterable[dict[str, Any]], launched: dict[str, Any] | None, scales: str = "") -> Room:
    """nodes: of ray.nodes(). launched: a cluster file as the head keeps it. scales: $ROADMAP_TUNE_SCALES_TO."""
    here = [node["Resources"] for node in nodes if node["Alive"]]
    machines = [machine_of(resources) for resources in here]
    workers = sum("node:__internal_head__" not in resources for resources in here)
    if scales:
        for kind in json.loads(scales):
            more = int(kind["max"]) - machines.count(machine_of(kind, there=False))
            machines += [machine_of(kind, there=False)] * max(0, more)
        return Room(tuple(machines))
    if launched is None:
        return Room(tuple(machines))
    most = int(launched.get("max_workers", 0)) - workers  # nodes that may still come
    coming = 0
    head = launched.get("head_node_type")
    for name, kind in launched["available_node_types"].items():
        named = machine_of(kind["resources"], there=False)
        if not kind["resources"]:  # machines that one has: Ray learns what they are when they join
            coming += max(0, int(kind.get("min_workers", 0)) - workers)
            continue
        there = machines.count(named) - (name == head)
        more = min(most, max(0, int(kind.get("max_workers", most)) - there)) if name != head else 0
        machines += [named] * more
    return Room(tuple(machines), coming)


def of_ray() -> Room:
    """Of the cluster that this process has joined."""
    import ray
    import yaml

    file = LAUNCHED.expanduser()
    launched = yaml.safe_load(file.read_text()) if file.is_file() else None
    return of_nodes(ray.nodes(), launched, os.environ.get(SCALES_TO, ""))


def hosting(nodes: Iterable[dict[str, Any]], resources: Resources) -> list[dict[str, Any]]:
    """Of the nodes as Ray lists them, those that are up and hold a worker of a trial."""
    return [node for node in nodes if node["Alive"] and machine_of(node["Resources"]).bundles(resources)]


def machine_of(resources: dict[str, Any], there: bool = True) -> Machine:
    """resources: as Ray counts them of a node. there: whether it has joined."""
    custom = {name: float(value) for name, value in resources.items() if not re.match(COUNTED, name)}
    return Machine(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)), custom, unseen=not there)
