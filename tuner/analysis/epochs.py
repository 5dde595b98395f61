"""Where the best epoch falls, what the scheduler saved, how the best grew with the budget."""

import math
from collections import Counter
from dataclasses import dataclass

from tuner.analysis import costs
from tuner.analysis.costs import Reached
from tuner.results import Results

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the budget spent
LATE = 0.5  # of the finished trials with their best epoch at the very end: train longer


@dataclass(frozen=True)
class Epochs:
    """planned: of a trial that is not stopped. best: epoch -> finished trials whose best it is.

    saved, saved_hours: of the stopped trials, the epochs that were not run, at what each one's epochs took.
    """

    planned: int
    best: dict[int, int]
    run: int
    hours: float
    saved: int
    saved_hours: float

    @property
    def finished(self) -> int:
        return sum(self.best.values())

    @property
    def last(self) -> int:
        """Finished trials whose best epoch is the last one."""
        return self.best.get(self.planned, 0)

    @property
    def longer(self) -> bool:
        """Whether trials end while they still get better."""
        return self.last > LATE * self.finished


def epochs(results: Results, planned: int) -> Epochs:
    """planned: experience.max_iter of the sweep's trials."""
    metric, mode = results.sweep.objective.metric, results.sweep.objective.mode
    finished = [trial.best(metric, mode) for trial in results.trials if trial.state == "finished"]
    counts = Counter(best[0] for best in finished if best is not None)
    saved, saved_hours = 0, 0.0
    for trial in results.trials:
        if trial.state == "stopped" and trial.reports:
            left = planned - max(trial.reports)
            saved += left
            saved_hours += left * costs.hours(results.sweep, trial) / len(trial.reports)
    run = sum(len(trial.reports) for trial in results.trials)
    spent = math.fsum(costs.hours(results.sweep, trial) for trial in results.trials)
    return Epochs(planned, dict(sorted(counts.items())), run, spent, saved, saved_hours)


def reached(results: Results) -> list[Reached]:
    """The best so far after 25, 50, 75 and 100 % of the epochs that were run."""
    curve = costs.best_so_far(results)
    return [curve[math.ceil(share * len(curve)) - 1] for share in SHARES] if curve else []
