"""Many simulated sweeps of each setting, as one table: epochs, regret, and the seeds' own noise beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.simulation.curves import Curves
from tuner.simulation.simulator import NEAR, Outcome, simulate
from tuner.sweep import Sweep

POINTS = 100.0  # values are shown in points of a hundred
ROWS = (  # sampler, scheduler, grace, reduction
    ("random", "none", 1, 3.0),
    ("random", "asha", 1, 3.0),
    ("random", "asha", 2, 3.0),
    ("random", "asha", 3, 3.0),
    ("random", "asha", 1, 4.0),
    ("random", "asha", 2, 4.0),
    ("random", "hyperband", 1, 3.0),
    ("random", "median", 3, 3.0),
    ("sobol", "asha", 1, 3.0),
    ("sobol", "asha", 2, 3.0),
    ("sobol", "asha", 3, 3.0),
    ("tpe", "none", 1, 3.0),
    ("tpe", "asha", 1, 3.0),
    ("tpe", "asha", 2, 3.0),
    ("tpe", "asha", 3, 3.0),
)
SLOW = {"tpe": 4}  # a sampler that fits a model at every trial is simulated so many times less


@dataclass(frozen=True)
class Row:
    """Many simulated sweeps with one setting; arrays over them."""

    sampler: str
    scheduler: str
    epochs: np.ndarray
    hours: np.ndarray
    near: np.ndarray
    regret: np.ndarray


def simulate_row(
    sweep: Sweep, curves: Curves, row: tuple[str, str, int, float], *, repeats: int, slots: int, trials: int
) -> Row:
    """The setting simulated with seeds 0, 1, ..."""
    sampler, name, grace, reduction = row
    settings = {"name": name, "grace": grace, "reduction": reduction, "brackets": 1}
    setting = sweep.model_copy(update={
        "search": sweep.search.model_copy(update={"sampler": sampler}),
        "scheduler": sweep.scheduler.model_copy(update=settings),
    })  # fmt: skip
    times = max(2, repeats // SLOW.get(sampler, 1))
    outcomes = [simulate(setting, curves, slots=slots, trials=trials, seed=seed) for seed in range(times)]
    return Row(sampler, _told(name, grace, reduction), *_columns(outcomes))


def _columns(outcomes: Sequence[Outcome]) -> Iterator[np.ndarray]:
    yield np.array([outcome.epochs for outcome in outcomes])
    yield np.array([outcome.hours for outcome in outcomes])
    yield np.array([outcome.epochs_to_near for outcome in outcomes])
    yield np.array([outcome.regret for outcome in outcomes])


def _told(name: str, grace: int, reduction: float) -> str:
    if name == "none":
        return "none"
    return f"{name}, grace {grace}" + ("" if name == "median" else f", reduction {reduction:g}")


def report(curves: Curves, mode: str, rows: Sequence[Row], slots: int) -> list[str]:
    """The table in Markdown, with the seeds' own noise and the setting that follows."""
    best = np.array([curve.best(mode) for curve in curves.trials])
    seeds = np.array([curve.best(mode) for curve in curves.repeats]) * POINTS
    top = float(np.nanmax(best) if mode == "max" else np.nanmin(best)) * POINTS
    inside = int(np.sum(np.abs(best * POINTS - top) <= np.ptp(seeds)))
    lines = [
        f"{len(curves.trials)} recorded points, {curves.epochs} epochs each, {slots} slots; the best reaches "
        f"{top:.1f} points of {curves.metric}.",
        f"{len(seeds)} seeds of the presets' point reach {', '.join(f'{seed:.1f}' for seed in seeds)}: "
        f"a range of {np.ptp(seeds):.2f} points, standard deviation {np.std(seeds, ddof=1):.2f}. "
        f"So near to the best are {inside} of the points: none of them is a winner before `confirm`.",
        "",
        f"| sampler | scheduler | sweeps | epochs | CPU hours | epochs to {NEAR:.0%} of the best | regret, points "
        "| its spread | at most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return [*lines, *(_line(row) for row in rows), "", *_advice(rows, float(np.ptp(seeds)))]


def _line(row: Row) -> str:
    never = np.mean(np.isinf(row.near))
    near = f"{np.median(row.near):.0f}" + (f" (never in {never:.0%})" if never else "")
    epochs = f"{row.epochs.mean():.0f}" + (
        "" if np.ptp(row.epochs) == 0 else f" ({row.epochs.min()} to {row.epochs.max()})"
    )
    regret = row.regret * POINTS
    return (
        f"| {row.sampler} | {row.scheduler} | {len(row.epochs)} | {epochs} | {row.hours.mean():.2f} | {near} "
        f"| {regret.mean():.2f} | {regret.std():.2f} | {regret.max():.2f} |"
    )


def _advice(rows: Sequence[Row], noise: float) -> list[str]:
    """The cheapest setting that never loses more than the seeds differ; without stopping nothing is lost."""
    at_random = [row for row in rows if row.sampler == "random"]
    safe = [row for row in at_random if row.regret.max() * POINTS <= noise]
    whole = max(row.epochs.mean() for row in at_random)
    cheapest = min(safe, key=lambda row: row.epochs.mean())
    return [
        f"Cheapest with random points whose regret is never more than the range of the seeds: {cheapest.scheduler}, "
        f"{whole / cheapest.epochs.mean():.1f} times fewer epochs than without stopping."
    ]
