"""The data of a confirmation where its trainings and its test are to happen: here, or on the joined cluster's nodes."""

from trainables.building import build_dataset
from trainables.console import Bars
from trainables.errors import UserError
from trainables.experiment import Experiment
from tuner import cluster, nodes
from tuner.plan import prepare_data
from tuner.sweep import Sweep


def ready(sweep: Sweep, experiment: Experiment, bars: Bars) -> list[str]:
    """Built or fetched where it can be; ids of nodes that have not got it.

    UserError where it is nowhere, has no test split, or nothing has room.
    """
    without: dict[str, str] = {}
    if cluster.is_joined():
        nodes.check_room(sweep)
        nodes.check_storage(sweep)
        without = nodes.prepare([experiment], sweep, bars).without
        for why in without.values():
            bars.line(f"nothing is placed on {why}")
        tested = nodes.on_some(has_test_split, experiment, resources=sweep.resources, data=[experiment])
    else:
        prepare_data([experiment], bars.update)
        tested = has_test_split(experiment)
    if not tested:
        name = experiment.dataset.name
        raise UserError(f"dataset={name} has no test split as it is set up: nothing can be confirmed")
    return sorted(without)


def has_test_split(experiment: Experiment) -> bool:
    return bool(build_dataset(experiment).test())
