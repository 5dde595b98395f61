"""Recording learning curves: two sweeps that stop nothing, one over the space at random and one over seeds alone."""

from typing import Any

from tuner import mirror
from tuner.journal import Journal, Trial
from tuner.plan import make_plan
from tuner.results import Results
from tuner.schema import Scheduler, Search
from tuner.session import run
from tuner.simulation.curves import Curves, of_trials
from tuner.sweep import Sweep

SEED = "experience.seed"
LENGTH = "experience.max_iter"


def record(sweep: Sweep, *, trials: int, epochs: int, seeds: int) -> Curves:
    """The curves of `trials` random points, the presets' first, and of `seeds` trainings with the presets' point.

    The sweeps are NAME-curves and NAME-seeds, one trial at a time so that seconds mean something. An interrupted
    recording goes on where it was.
    """
    points = _longer(sweep, epochs, name=f"{sweep.name}-curves", search=_search(sweep, "random", trials))
    seed = make_plan(points).base.experience.seed
    values = list(range(seed, seed + seeds))
    repeats = _longer(sweep, epochs, name=f"{sweep.name}-seeds", search=_search(sweep, "grid", seeds),
                      space={SEED: {"grid": values}}, constraints=())  # fmt: skip
    return curves_of(sweep, seed, _trained(points), _trained(repeats))


def curves_of(sweep: Sweep, seed: int, points: list[Trial], repeats: list[Trial]) -> Curves:
    """seed: of the trainings of the space's points; `repeats` differ in `experience.seed` alone."""
    metric = sweep.objective.metric
    trials = tuple(of_trials(points, metric, seed))
    presets = trials[0].point
    again = [
        curve
        for trial in sorted(repeats, key=lambda trial: trial.number)
        for curve in of_trials([trial], metric, int(trial.point[SEED]), presets)
        if curve.seed != seed
    ]
    return Curves(metric, trials, (trials[0], *again))


def _longer(sweep: Sweep, epochs: int, **changes: Any) -> Sweep:
    """The sweep without a scheduler and without a study, every trial of so many epochs, one at a time."""
    train = [text for text in sweep.train if text.lstrip("+").partition("=")[0] != LENGTH]
    budget = sweep.budget.model_copy(update={"concurrent": 1, "hours": None, "gpu_hours": None})
    alone = {"train": (*train, f"{LENGTH}={epochs}"), "scheduler": Scheduler(name="none"), "budget": budget}
    return sweep.model_copy(update={**alone, "study": None, "tradeoffs": (), **changes})


def _search(sweep: Sweep, sampler: str, trials: int) -> Search:
    return Search.model_validate({"sampler": sampler, "trials": trials, "seed": sweep.search.seed})


def _trained(sweep: Sweep) -> list[Trial]:
    """The trials of the sweep, run where they have not been."""
    mirror.pull(sweep.folder)
    known = Journal.read(sweep.folder)
    results = Results.read(sweep) if known.complete else run(sweep, resume=bool(known.header))
    return list(results.trials)
