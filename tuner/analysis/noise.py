"""How far two trials lie apart by chance: measured over folds or seeds, or not known."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.errors import UserError
from tuner.journal import Trial
from tuner.results import Results

CONFIDENCE = 0.95
COMPARED = 10  # the best trials, between which the folds' noise is measured


@dataclass(frozen=True)
class Noise:
    """difference: two trials whose values lie closer cannot be told apart at 95 %; None where nothing measures it."""

    difference: float | None
    source: str

    def within(self, results: Results) -> list[Trial]:
        """The trials that cannot be told apart from the best one, itself first; it alone where nothing is known."""
        valued = [trial for trial in results.ranked if math.isfinite(results.value(trial))]
        if self.difference is None:
            return valued[:1]
        return [trial for trial in valued if abs(results.value(trial) - results.value(valued[0])) <= self.difference]


def noise(results: Results, seeds: Path | None = None) -> Noise:
    """From a file of repeated seeds where one is given, else from the folds of the trials, else unknown."""
    objective = results.sweep.objective
    if seeds is not None:
        return of_seeds(seeds, objective.metric, objective.mode)
    return of_folds(results) or Noise(None, "one seed each: nothing here measures how far two seeds lie apart")


def of_seeds(path: Path, metric: str, mode: str) -> Noise:
    """From what `roadmap-tune record` wrote: the first trial's point, trained again with other seeds.

    Two trainings of one point differ by less than t * sqrt(2) * s in 95 % of all pairs; s: the seeds' standard
    deviation, t: Student's. UserError where the file has no such column or only one seed.
    """
    import pandas as pd
    from scipy import stats

    if not path.is_file():
        raise UserError(f"there is no file of seeds {str(path)!r}: `roadmap-tune record` makes one")
    table = pd.read_csv(path)
    missing = [column for column in ("trial", "seed", metric) if column not in table.columns]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}: it is not what `roadmap-tune record` writes")
    first = table[table["trial"] == table["trial"].min()]
    repeats = pd.concat([first, table[table["seed"] != first["seed"].iloc[0]]])
    best = repeats.groupby("trial")[metric].agg(mode).to_numpy()
    if len(best) < 2:
        raise UserError(f"{path} has one seed only: it takes two to measure how far they lie apart")
    factor = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(best) - 1)) * math.sqrt(2)
    return Noise(factor * float(np.std(best, ddof=1)), f"{len(best)} seeds of one setting in {path.name}")


def of_folds(results: Results) -> Noise | None:
    """From the objective fold by fold: the paired t interval between the best trial and each of the next best ones.

    Half the interval's width, the median over the pairs. None where the trials have no folds.
    """
    from scipy import stats

    folds = [found for trial in results.ranked[:COMPARED] if len(found := _folds(results, trial)) > 1]
    if len(folds) < 2:
        return None
    count = len(folds[0])
    factor = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) / math.sqrt(count)
    widths = [factor * float(np.std(folds[0] - other, ddof=1)) for other in folds[1:]]
    return Noise(float(np.median(widths)), f"{count} folds, paired between the best {len(folds)} trials")


def _folds(results: Results, trial: Trial) -> np.ndarray:
    """(k,) the objective of each fold at the trial's best epoch; empty without folds."""
    objective = results.sweep.objective
    best = trial.best(objective.metric, objective.mode)
    name = objective.metric.removeprefix("val/")
    metrics = {} if best is None else trial.reports[best[0]]
    own = [key for key in metrics if key.startswith("folds/") and key.endswith(f"/{name}")]
    return np.array([metrics[key] for key in sorted(own, key=lambda key: int(key.split("/")[1]))])
