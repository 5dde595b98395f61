"""What a sweep found: one tidy table, the best trial, the command that repeats it."""

import math
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tuner import front, lineage, space
from tuner.journal import Journal, Trial
from tuner.space import Point
from tuner.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd

SPREAD = "folds/spread"  # what a trial of folds reports


@dataclass(frozen=True)
class Results:
    """The trials of a sweep as its journal has them, finished or not."""

    sweep: Sweep
    trials: tuple[Trial, ...]

    @classmethod
    def read(cls, sweep: Sweep) -> "Results":
        return cls(sweep, tuple(Journal.read(sweep.folder).trials.values()))

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row a trial, best first: trial, state, reason, epochs, objective, best_epoch, the point, checkpoint.

        With k folds also `folds/spread`, with trade-offs their values and `front`, beside the objective.
        """
        import pandas as pd

        rows = [self._row(trial) for trial in self.ranked]
        told = [self.sweep.objective.metric, *self._spread_column, *self._tradeoff_columns, "best_epoch"]
        columns = ["trial", "state", "reason", "epochs", *told, *self.sweep.space, "train_s", "checkpoint"]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def ranked(self) -> list[Trial]:
        """Trials by their best epoch, those without a value last."""
        sign = 1.0 if self.sweep.objective.mode == "max" else -1.0
        return sorted(self.trials, key=lambda trial: (-sign * self.value(trial, worst=-sign * math.inf), trial.number))

    @cached_property
    def front(self) -> set[int]:
        """Numbers of the trials that no other beats in objective and trade-offs; empty without trade-offs."""
        return front.front(self.sweep, self.trials)

    @property
    def best(self) -> Trial | None:
        """The trial whose best epoch is best; None where no trial has a value."""
        return self.ranked[0] if self.ranked and self._best_of(self.ranked[0]) is not None else None

    def value(self, trial: Trial, worst: float = math.nan) -> float:
        """The objective at the trial's best epoch."""
        best = self._best_of(trial)
        return worst if best is None else best[1]

    def point(self, trial: Trial) -> Point:
        """With which the best epoch was trained: population based training changes it on the way."""
        best = self._best_of(trial)
        return trial.point if best is None else trial.point_at(best[0])

    def spread(self, trial: Trial) -> float:
        """The sample standard deviation of the objective over the folds, at the trial's best epoch; NaN without."""
        best = self._best_of(trial)
        return math.nan if best is None else trial.reports[best[0]].get(SPREAD, math.nan)

    def told(self, trial: Trial) -> str:
        """The value as people read it, with the folds' spread where there are folds."""
        spread = self.spread(trial)
        return f"{self.value(trial):.4f}" + ("" if math.isnan(spread) else f" ± {spread:.4f}")

    def best_metrics(self, trial: Trial) -> dict[str, float]:
        """The validation metrics of the trial's best epoch, and the epoch itself."""
        best = self._best_of(trial)
        if best is None:
            return {}
        judged = {key: value for key, value in trial.reports[best[0]].items() if key.startswith("val/")}
        # what is written first is what MLflow's compare page opens with
        return {self.sweep.objective.metric: best[1], **judged, "epoch": float(best[0])}

    def place(self, number: int) -> int | None:
        """The rank of a trial, 1 the best; None where it has no value."""
        for place, trial in enumerate(self.ranked, start=1):
            if trial.number == number:
                return place if self._best_of(trial) is not None else None
        return None

    def command(self, trial: Trial, program: str = "roadmap-train") -> str:
        """The line that repeats the trial alone: one training, or a loop over its folds.

        In a sweep by pbt the trial's schedule, which leads to its best epoch, has its point and those of its donors.
        """
        name = f"experience.experiment_name={self.sweep.name}-{trial.id}"
        point = space.overrides(trial.point)
        if self.sweep.scheduler.name == "pbt":
            point = ["--schedule", str(lineage.schedule_file(self.sweep.folder, trial.number))]
        parts = [*self.sweep.fixed(), *point, name]
        line = " ".join([program, *(shlex.quote(part) for part in parts)])
        validation = self.sweep.validation
        if validation.protocol == "holdout":
            return line
        line = line.replace("experience.split=0", "experience.split=$fold").replace(name, f"{name}-fold$fold")
        return f"for fold in {' '.join(map(str, range(validation.folds)))}; do {line}; done"

    def write(self, path: Path) -> None:
        """The table as CSV."""
        self.table.to_csv(path, index=False)

    def _best_of(self, trial: Trial) -> tuple[int, float] | None:
        return trial.best(self.sweep.objective.metric, self.sweep.objective.mode)

    @property
    def _spread_column(self) -> list[str]:
        return [SPREAD] if self.sweep.validation.protocol == "kfold" else []

    @property
    def _tradeoff_columns(self) -> list[str]:
        return [*(one.metric for one in self.sweep.tradeoffs), "front"] if self.sweep.tradeoffs else []

    def _row(self, trial: Trial) -> dict[str, object]:
        best = self._best_of(trial)
        return {
            "trial": trial.number,
            "state": trial.state,
            "reason": trial.reason,
            "epochs": max(trial.reports, default=0),
            self.sweep.objective.metric: math.nan if best is None else best[1],
            **{column: self.spread(trial) for column in self._spread_column},
            **front.tradeoffs(self.sweep, trial),
            "front": trial.number in self.front,
            "best_epoch": None if best is None else best[0],
            **self.point(trial),
            "train_s": sum(report.get("time/epoch_s", 0.0) for report in trial.reports.values()),
            "checkpoint": None if best is None else trial.checkpoints.get(best[0]),
        }
