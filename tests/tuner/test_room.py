"""Trials that fit a cluster at a time, worked by hand."""

from typing import Any

import pytest

from tuner.probe import NoRoom
from tuner.room import Machine, Room, of_nodes
from tuner.schema import Resources
from tuner.sweep import Sweep

HEAD = {"Alive": True, "Resources": {"node:__internal_head__": 1.0}}


def node(cpu: float, gpu: float = 0, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpu, "GPU": gpu} if gpu else {"CPU": cpu}}


@pytest.mark.parametrize(
    ("resources", "trials"),
    [
        ({"cpu": 1}, 8 + 8 + 4),
        ({"cpu": 3}, 2 + 2 + 1),
        ({"cpu": 1, "gpu": 1}, 2 + 1),
        ({"cpu": 1, "gpu": 0.5}, 4 + 2),
        ({"cpu": 3, "gpu": 0.5}, 2 + 2),  # cores are scarcer than halves on the first, not on the second
        ({"cpu": 1, "gpu": 2}, 1),
        ({"cpu": 1, "gpu": 3}, 0),
        ({"cpu": 4, "gpu": 1, "workers": 2}, (2 + 1) // 2),
    ],
)
def test_bundles_are_counted_machine_by_machine(resources: dict[str, Any], trials: int) -> None:
    room = Room((Machine(8, 2), Machine(8, 1), Machine(4, 0)))
    assert room.trials(Resources(**resources)) == trials


def test_too_many_are_refused_with_what_there_is(sweep: Sweep) -> None:
    room = Room((Machine(2, 0), Machine(2, 0)))
    room.check(sweep.model_copy(update={"budget": sweep.budget.model_copy(update={"concurrent": 4})}))
    many = sweep.model_copy(update={"budget": sweep.budget.model_copy(update={"concurrent": 5})})
    with pytest.raises(NoRoom, match=r"has room for 4; it is 2 x 2 CPUs: --set budget.concurrent=4$"):
        room.check(many)
    cards = sweep.model_copy(update={"resources": Resources(gpu=1)})
    with pytest.raises(NoRoom, match=r"resources.cpu=1, resources.gpu=1 a trial: the cluster has no room for one"):
        room.check(cards)
    with pytest.raises(NoRoom, match="it is empty"):
        Room(()).check(sweep)


def launched(most: int, *, least: int = 0, resources: dict[str, int] | None = None) -> dict[str, Any]:
    gpu = {
        "resources": {"CPU": 8, "GPU": 1} if resources is None else resources,
        "min_workers": least,
        "max_workers": 4,
    }
    kinds = {"head": {"resources": {"CPU": 0}, "max_workers": 0}, "gpu": gpu}
    return {"max_workers": most, "head_node_type": "head", "available_node_types": kinds}


def test_what_a_launcher_may_still_start_counts() -> None:
    one_card = Resources(gpu=1)
    assert of_nodes([HEAD], None).trials(one_card) == 0
    assert of_nodes([HEAD], launched(4)).trials(one_card) == 4
    assert of_nodes([HEAD, node(8, 1)], launched(4)).trials(one_card) == 4
    assert of_nodes([HEAD, node(8, 1), node(8, 1, alive=False)], launched(2)).trials(one_card) == 2
    assert of_nodes([HEAD, node(8, 1)], launched(1)).trials(one_card) == 1
    scales = '[{"CPU": 8, "GPU": 1, "max": 3}]'
    assert of_nodes([HEAD, node(8, 1)], None, scales).trials(one_card) == 3


def test_machines_of_a_list_are_awaited() -> None:
    """What they are is known when they join."""
    announced = launched(2, least=2, resources={})
    assert of_nodes([HEAD], announced).coming == 2
    room = of_nodes([HEAD, node(2), node(2)], announced)
    assert room.coming == 0 and room.trials(Resources()) == 4


def test_custom_resources_are_counted_and_accelerators_of_nodes_to_come_are_trusted(sweep: Sweep) -> None:
    share = Resources(gpu=1, custom={"accelerator_type:A100": 0.001})
    with_card = node(8, 2)
    with_card["Resources"] |= {"accelerator_type:A100": 1.0, "node:10.0.0.7": 1.0, "memory": 1e9}
    room = of_nodes([HEAD, with_card, node(8, 2)], None)
    assert room.trials(share) == 2 and room.trials(Resources(gpu=1)) == 4
    assert of_nodes([HEAD], launched(4)).trials(share) == 4
    licences = Resources(custom={"licence": 1})
    assert of_nodes([HEAD], launched(4)).trials(licences) == 0
    with pytest.raises(NoRoom, match=r"resources.custom.licence=1 a trial: the cluster has no room.*A100"):
        room.check(sweep.model_copy(update={"resources": licences}))
