"""Axis plots as data: each searched key's values beside the objective; ranges whose end holds the best trials."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tuner.analysis.scale import Range, at, position
from tuner.results import Results
from tuner.space import Choice, Int, Value

TOP = 5  # the best trials that are looked at
EDGE = 0.1  # of the range, on its own scale
EXTENSION = 0.5  # of the range's width on its own scale, past the end that holds the best


@dataclass(frozen=True)
class AxisPoint:
    """objective: at the trial's best epoch, None where it has none (infeasible, failed)."""

    trial: int
    value: Value
    objective: float | None
    state: str


@dataclass(frozen=True)
class Edge:
    """`count` of the `top` best trials lie at one end ("low" or "high") of the key's range.

    line: for the sweep file, the range with more room at that end; "" where it ends at 0 by nature.
    """

    key: str
    end: str
    count: int
    top: int
    line: str


def axes(results: Results) -> dict[str, tuple[AxisPoint, ...]]:
    """key -> the trials that have it, in the order of its values. Words come in the order of the sweep file."""
    found = {}
    for key, known in results.sweep.distributions.items():
        points = []
        for trial in results.trials:
            if key in trial.point:
                value = results.value(trial)
                objective = value if math.isfinite(value) else None
                points.append(AxisPoint(trial.number, trial.point[key], objective, trial.state))
        order = {value: place for place, value in enumerate(known.edges())} if isinstance(known, Choice) else {}
        found[key] = tuple(sorted(points, key=lambda point: order.get(point.value, point.value)))
    return found


def edges(results: Results) -> list[Edge]:
    """The ends where more than half of the best trials lie; none with fewer than twice as many trials as looked at."""
    best = [trial for trial in results.ranked if math.isfinite(results.value(trial))]
    if len(best) < 2 * TOP:
        return []
    found = []
    for key, known in results.sweep.distributions.items():
        if isinstance(known, Choice):
            continue
        places = [position(known, trial.point[key]) for trial in best[:TOP] if key in trial.point]
        at_ends = {"low": sum(p <= EDGE for p in places), "high": sum(p >= 1 - EDGE for p in places)}
        for end, count in at_ends.items():
            if count > TOP / 2:
                found.append(Edge(key, end, count, TOP, _proposed(key, known, results.sweep.space[key], end)))
    return found


def _proposed(key: str, known: Range, written: Mapping[str, Any], end: str) -> str:
    low, high = known.low, known.high
    if end == "low" and low == 0:
        return ""
    if end == "high":
        high = _extended(known, 1 + EXTENSION)
    else:
        # a weight or a rate does not change its sign, a logarithm has no 0
        bound = -math.inf if low < 0 else 1 if isinstance(known, Int) and known.log else 0
        further = _extended(known, -EXTENSION)
        low = further if further > bound else type(low)(bound)
    wider = {kind: [low, high, *told[2:]] if isinstance(told, list | tuple) else told for kind, told in written.items()}
    flow = yaml.safe_dump(wider, default_flow_style=True, sort_keys=False, width=math.inf).strip()
    return f"{f'{key!r}' if ',' in key else key}: {flow}"


def _extended(known: Range, place: float) -> float | int:
    """The value there in two digits; of a range in steps, the whole step that is nearest to it."""
    value = at(known, place)
    step = 1 if isinstance(known, Int) else known.step
    if step is None:
        return float(f"{value:.2g}")
    return known.low + step * round((value - known.low) / step)
