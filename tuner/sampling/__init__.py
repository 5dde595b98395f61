"""Samplers: which point comes next."""

from tuner.sampling.earlier import Earlier, copy_earlier, earlier_sweeps
from tuner.sampling.question import Draw
from tuner.sampling.refusals import check_search
from tuner.sampling.samplers import SAMPLERS, known_points, planned_trials, suggest

__all__ = [
    "SAMPLERS",
    "Draw",
    "Earlier",
    "check_search",
    "copy_earlier",
    "earlier_sweeps",
    "known_points",
    "planned_trials",
    "suggest",
]
