"""What trials cost: epochs, and hours of the devices they had."""

from collections.abc import Iterable
from dataclasses import dataclass

from tuner.journal import Trial
from tuner.results import Results
from tuner.sweep import Sweep


@dataclass(frozen=True)
class Reached:
    """The best value (None before the first one) after so many trials that had reported, epochs and device hours."""

    trials: int
    epochs: int
    hours: float
    best: float | None


def unit(sweep: Sweep) -> str:
    return "GPU hours" if sweep.resources.gpu > 0 else "CPU hours"


def hours(sweep: Sweep, trial: Trial) -> float:
    """Device hours of the trial's epochs."""
    return sum(_hours(sweep, metrics) for metrics in trial.reports.values())


def best_so_far(results: Results) -> list[Reached]:
    """One entry an epoch, in the order in which they were reported."""
    metric, mode = results.sweep.objective.metric, results.sweep.objective.mode
    better = max if mode == "max" else min
    seen: set[int] = set()
    spent = 0.0
    best: float | None = None
    found: list[Reached] = []
    for _, trial, epoch in sorted(_reports(results.trials), key=lambda report: (report[0], report[1].number)):
        seen.add(trial.number)
        spent += _hours(results.sweep, trial.reports[epoch])
        value = trial.scores(metric).get(epoch)
        if value is not None:
            best = value if best is None else better(best, value)
        found.append(Reached(len(seen), len(found) + 1, spent, best))
    return found


def _reports(trials: Iterable[Trial]) -> list[tuple[float, Trial, int]]:
    return [(trial.reported_at.get(epoch, 0.0), trial, epoch) for trial in trials for epoch in sorted(trial.reports)]


def _hours(sweep: Sweep, metrics: dict[str, float]) -> float:
    resources = sweep.resources
    devices = resources.workers * (resources.gpu if resources.gpu > 0 else resources.cpu)
    return metrics.get("time/epoch_s", 0.0) * devices / 3600
