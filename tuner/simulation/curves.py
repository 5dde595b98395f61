"""Recorded learning curves: points of a space that were trained to the end, epoch by epoch, as a small CSV.

    trial,seed,<the space's keys>,epoch,<the objective>,seconds

One row an epoch. Trial 0 is the presets' point. Trials with another seed than its own are that point once more: they
say how far equal settings lie apart.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.errors import UserError
from tuner.journal import Trial
from tuner.space import Point
from tuner.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
DIGITS = "%.6g"  # of what is written


@dataclass(frozen=True)
class Curve:
    """One trial to its end. values, seconds: (epochs,); shorter than others where the trial was infeasible."""

    point: Point
    seed: int
    values: Array
    seconds: Array

    def best(self, mode: str) -> float:
        """The value of the best epoch: what a sweep ranks trials by."""
        return float(self.values.max() if mode == "max" else self.values.min()) if len(self.values) else np.nan


@dataclass(frozen=True)
class Curves:
    """trials: by number, of one seed. repeats: the first one's point with that seed and others."""

    metric: str
    trials: tuple[Curve, ...]
    repeats: tuple[Curve, ...]

    @property
    def epochs(self) -> int:
        """Of a trial that is not infeasible."""
        return max(len(curve.values) for curve in self.trials)

    def write(self, path: Path) -> None:
        """The CSV; folders are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._table().to_csv(path, index=False, float_format=DIGITS)

    @classmethod
    def read(cls, path: Path, sweep: Sweep) -> "Curves":
        """UserError where there is no such file, or it was recorded for another space or objective."""
        import pandas as pd

        if not path.is_file():
            raise UserError(f"there are no recorded curves in {str(path)!r}: `roadmap-tune record` makes them")
        table = pd.read_csv(path)
        metric = sweep.objective.metric
        wanted = ["trial", "seed", *sweep.space, "epoch", metric, "seconds"]
        if set(table.columns) != set(wanted):
            raise UserError(f"{path} has the columns {', '.join(table.columns)}; the sweep's are {', '.join(wanted)}")
        curves = [_curve(rows, list(sweep.space), metric) for _, rows in table.groupby("trial")]
        first = curves[0].seed
        return cls(
            metric,
            tuple(curve for curve in curves if curve.seed == first),
            (curves[0], *(curve for curve in curves if curve.seed != first)),
        )

    def _table(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(list(self._rows()))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for number, curve in enumerate((*self.trials, *self.repeats[1:])):
            for epoch, (value, seconds) in enumerate(zip(curve.values, curve.seconds, strict=True), start=1):
                yield {"trial": number, "seed": curve.seed, **curve.point,
                       "epoch": epoch, self.metric: value, "seconds": round(float(seconds), 3)}  # fmt: skip


def of_trials(trials: Sequence[Trial], metric: str, seed: int, point: Point | None = None) -> list[Curve]:
    """The curves of a journal's trials by number. point: theirs, where it is not what was searched."""
    found = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        scores = trial.scores(metric)
        epochs = list(itertools.takewhile(scores.__contains__, itertools.count(1)))
        seconds = [trial.reports[epoch]["time/epoch_s"] for epoch in epochs]
        values = np.array([scores[epoch] for epoch in epochs])
        found.append(Curve(dict(trial.point if point is None else point), seed, values, np.array(seconds)))
    return found


def _curve(rows: "pd.DataFrame", keys: Sequence[str], metric: str) -> Curve:
    rows = rows.sort_values("epoch")
    first = rows.iloc[0]
    present = [key for key in keys if first[key] == first[key]]  # NaN: a key that does not exist in this point
    point = {key: first[key].item() if isinstance(first[key], np.generic) else first[key] for key in present}
    return Curve(point, int(first["seed"]), rows[metric].to_numpy(float), rows["seconds"].to_numpy(float))
