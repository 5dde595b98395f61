"""Which point comes next: a pure function of the sweep's seed, the trial's number and what is known of the others.

Nothing is kept between two questions, so a resumed sweep asks exactly as an undisturbed one would.
"""

import datetime
import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import UserError
from tuner.journal import BROKEN, Trial
from tuner.space import Choice, Distribution, Int, Point, Uniform, Value, grid
from tuner.sweep import Sweep

if TYPE_CHECKING:
    import optuna

Sampler = Callable[[Sweep, int, Mapping[int, Trial]], Point]


def suggest(sweep: Sweep, number: int, trials: Mapping[int, Trial]) -> Point:
    """The point of trial `number` >= 1, given every trial drawn before it. Trial 0 is the paper's defaults."""
    return SAMPLERS[sweep.search.sampler](sweep, number, trials)


def planned_trials(sweep: Sweep) -> int:
    """How many trials the sweep has: as many as asked for, or as the grid holds beside trial 0."""
    if sweep.search.sampler != "grid":
        return sweep.search.trials
    size = sum(1 for _ in grid(sweep.distributions))
    return min(sweep.search.trials, size + 1)


def random_point(sweep: Sweep, number: int, trials: Mapping[int, Trial]) -> Point:
    """Independent draws, the generator seeded by sweep seed and trial number."""
    generator = np.random.default_rng([sweep.search.seed, number])
    return {key: _draw(distribution, generator) for key, distribution in sweep.distributions.items()}


def grid_point(sweep: Sweep, number: int, trials: Mapping[int, Trial]) -> Point:
    """The next combination that trial 0 has not covered."""
    defaults = trials[0].point if 0 in trials else None
    rest = (point for point in grid(sweep.distributions) if point != defaults)
    point = next(itertools.islice(rest, number - 1, None), None)
    if point is None:
        raise UserError(f"the grid has no point for trial {number}")
    return point


def tpe_point(sweep: Sweep, number: int, trials: Mapping[int, Trial]) -> Point:
    """Optuna's multivariate TPE with constant liar: running trials count as poor, so parallel points spread.

    A trial that ASHA stopped is told as pruned with its values by epoch, an infeasible one as pruned before its first
    value (the worst there is), one that failed or was lost not at all.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {key: _optuna(distribution) for key, distribution in sweep.distributions.items()}
    told = [
        frozen
        for trial in trials.values()
        if trial.number < number and (frozen := _told(trial, sweep, distributions)) is not None
    ]
    seed = int(np.random.SeedSequence([sweep.search.seed, number]).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(
        seed=seed, multivariate=True, constant_liar=True, n_startup_trials=sweep.search.startup
    )
    study = optuna.create_study(direction="maximize" if sweep.objective.mode == "max" else "minimize", sampler=sampler)
    study.add_trials(told)
    params = study.ask(distributions).params
    return {key: _plain(params[key]) for key in distributions}


SAMPLERS: dict[str, Sampler] = {"tpe": tpe_point, "random": random_point, "grid": grid_point}


def _told(
    trial: Trial, sweep: Sweep, distributions: Mapping[str, "optuna.distributions.BaseDistribution"]
) -> "optuna.trial.FrozenTrial | None":
    """The trial as Optuna should see it; None where it has nothing to learn from it."""
    from optuna.trial import TrialState, create_trial

    outside = [key for key, known in sweep.distributions.items() if trial.point.get(key) not in known]
    if trial.state in BROKEN or outside:
        return None
    best = trial.best(sweep.objective.metric, sweep.objective.mode)
    values = trial.scores(sweep.objective.metric)
    if trial.state == "finished" and best is not None:
        state, value, steps = TrialState.COMPLETE, best[1], values
    elif trial.ended:
        state, value, steps = TrialState.PRUNED, None, {} if trial.state == "infeasible" else values
    else:
        state, value, steps = TrialState.RUNNING, None, values
    frozen = create_trial(
        state=TrialState.COMPLETE if state == TrialState.COMPLETE else TrialState.PRUNED,
        value=value,
        params=dict(trial.point),
        distributions=dict(distributions),
        intermediate_values=steps,
    )
    frozen.state = state
    if state == TrialState.RUNNING:
        frozen.datetime_complete = None
        frozen.datetime_start = datetime.datetime.now()
    return frozen


def _draw(distribution: Distribution, generator: np.random.Generator) -> Value:
    if isinstance(distribution, Choice):
        return distribution.values[int(generator.integers(len(distribution.values)))]
    low, high = distribution.low, distribution.high
    if isinstance(distribution, Int):
        if distribution.log:
            drawn = np.exp(generator.uniform(np.log(low - 0.5), np.log(high + 0.5)))
            return int(np.clip(np.rint(drawn), low, high))
        return int(generator.integers(int(low), int(high) + 1))
    if distribution.step is not None:
        return low + distribution.step * int(generator.integers(_steps(distribution) + 1))
    if distribution.log:
        return float(np.clip(np.exp(generator.uniform(np.log(low), np.log(high))), low, high))
    return float(generator.uniform(low, high))


def _steps(distribution: Uniform) -> int:
    assert distribution.step is not None
    return int((distribution.high - distribution.low) / distribution.step + 1e-9)


def _optuna(distribution: Distribution) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, Choice):
        return CategoricalDistribution(distribution.values)
    if isinstance(distribution, Int):
        return IntDistribution(distribution.low, distribution.high, log=distribution.log)
    high = distribution.high
    if distribution.step is not None:
        high = distribution.low + distribution.step * _steps(distribution)
    return FloatDistribution(distribution.low, high, log=distribution.log, step=distribution.step)


def _plain(value: Value) -> Value:
    """np.float64 and its kin become what YAML and MLflow can write."""
    return value.item() if isinstance(value, np.generic) else value
