"""Where a trial is placed: what it takes, and the nodes that it keeps away from.

Ray asks for it in every trial's process too, so nothing heavy is imported here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune

CROWDED = "crowded"  # the key of a Ray trial's config that says whether it takes twice its share of a GPU
AVOIDED = "avoided"  # the key of a Ray trial's config with the nodes on which it is not placed
NODE_LABEL = "ray.io/node-id"  # that Ray gives every node


def resources(
    asked: Mapping[str, Any], avoided: Sequence[str] = (), crowded: bool = False
) -> tune.PlacementGroupFactory:
    """Of one trial: a bundle for each worker, all on one node where they fit; who asks several takes none itself.

    asked: the block `resources` of a sweep. avoided: ids of nodes on which no bundle is placed. crowded: twice the
    share of a GPU, so half as many trials on it.
    """
    gpu = min(1.0, 2 * asked["gpu"]) if crowded else float(asked["gpu"])
    worker, workers = {"CPU": float(asked["cpu"]), "GPU": gpu, **asked["custom"]}, int(asked["workers"])
    bundles = [worker] if workers == 1 else [{}] + [worker] * workers
    if not avoided:
        return tune.PlacementGroupFactory(bundles, strategy="PACK")
    selectors = [elsewhere(avoided)] * workers
    return tune.PlacementGroupFactory(bundles, strategy="PACK", bundle_label_selector=selectors)


def elsewhere(avoided: Sequence[str]) -> dict[str, str]:
    """The labels that Ray is asked for: those of no node with such an id."""
    return {NODE_LABEL: f"!in({','.join(avoided)})"}


def placed(asked: Mapping[str, Any], config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """Ray asks with a copy of this function: what changes while trials run stands in their config."""
    return resources(asked, config[AVOIDED], config[CROWDED])
