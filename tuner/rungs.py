"""The rungs of successive halving."""

import math


def rungs(grace: int, reduction: float, epochs: int) -> list[int]:
    """The epochs at which the first bracket compares trials: grace * reduction^k below the last epoch."""
    found = []
    rung = float(grace)
    while rung < epochs:
        found.append(math.ceil(rung))
        rung *= reduction
    return found
