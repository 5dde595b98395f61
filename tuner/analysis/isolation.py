"""Isolation plots as data (Google's Deep Learning Tuning Playbook): the best over everything else, value by value."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.analysis.enough import best_of
from tuner.analysis.scale import at, position
from tuner.journal import Trial
from tuner.results import Results
from tuner.space import Choice, Point

BINS = 4  # of a range, equally wide on its own scale


@dataclass(frozen=True)
class Cell:
    """The trials with one value, or in one part of a range; best, trial and point: of the best of them, None without.

    fair: the expected best of as many of them as the smallest cell has: cells with more trials have more luck.
    point: the best trial's values of everything that is not isolated.
    """

    label: str
    trials: int
    best: float | None
    fair: float | None
    trial: int | None
    point: Point | None


def isolation(results: Results, key: str) -> list[Cell]:
    """Of one key, its parts in the order of the range or of the sweep file; trials without the key are left out."""
    known = results.sweep.distributions[key]
    own = [trial for trial in results.ranked if key in trial.point]
    if isinstance(known, Choice):
        return _cells(results, own, [key], lambda trial: str(trial.point[key]), [str(v) for v in known.values])
    ends = [at(known, place) for place in np.linspace(0, 1, BINS + 1)]
    labels = [f"{low:.3g} .. {high:.3g}" for low, high in itertools.pairwise(ends)]

    def label(trial: Trial) -> str:
        place = position(known, trial.point[key])
        return labels[min(int(max(place, 0.0) * BINS), BINS - 1)] if 0 <= place <= 1 else "outside"

    found = _cells(results, own, [key], label, [*labels, "outside"])
    return [cell for cell in found if cell.label != "outside" or cell.trials]


def arms(results: Results) -> list[Cell]:
    """Of a study: one cell for each combination of the scientific keys that was tried; empty without a study.

    A scientific key that does not exist in a point is written as "-".
    """
    study = results.sweep.study
    if study is None or not study.scientific:
        return []
    keys = list(study.scientific)

    def label(trial: Trial) -> str:
        return ", ".join(str(trial.point.get(key, "-")) for key in keys)

    labels = dict.fromkeys(label(trial) for trial in sorted(results.trials, key=lambda trial: trial.number))
    return _cells(results, results.ranked, keys, label, list(labels))


def _cells(
    results: Results, ranked: Sequence[Trial], keys: Sequence[str], label: Callable[[Trial], str], labels: Sequence[str]
) -> list[Cell]:
    sign = 1.0 if results.sweep.objective.mode == "max" else -1.0
    members = {text: [trial for trial in ranked if label(trial) == text] for text in labels}
    valued = {text: [trial for trial in own if math.isfinite(results.value(trial))] for text, own in members.items()}
    smallest = min((len(own) for own in valued.values() if own), default=0)
    cells = []
    for text, own in valued.items():
        if not own:
            cells.append(Cell(text, len(members[text]), None, None, None, None))
            continue
        scores = np.array([sign * results.value(trial) for trial in own])
        rest = {key: value for key, value in own[0].point.items() if key not in keys}
        fair = sign * best_of(scores, smallest).expected
        cells.append(Cell(text, len(members[text]), results.value(own[0]), fair, own[0].number, rest))
    return cells
