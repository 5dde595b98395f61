"""EC2 for Ray's launcher: a spot instance where AWS has one, else the same on demand. cluster.yaml names it.

Ray's own provider asks again and again for what AWS refused. Needs boto3, here and on the head.
"""

from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException

# EC2's words for "none left", "too many spot instances", "more than your price": not for a mistake in the request
REFUSALS = (
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "InsufficientCapacity",
    "UnfulfillableCapacity",
)
SPOT = "InstanceMarketOptions"


class SpotFirst(AWSNodeProvider):
    """AWSNodeProvider, whose refused spot instances are asked for once more on demand."""

    def _create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Instance id -> instance. NodeLaunchException where AWS has none on demand either."""
        try:
            found: dict[str, Any] = super()._create_node(node_config, tags, count)
        except NodeLaunchException as error:
            if SPOT not in node_config or error.category not in REFUSALS:
                raise
            on_demand = {key: value for key, value in node_config.items() if key != SPOT}
            found = super()._create_node(on_demand, tags, count)
        return found
