"""Which keys of the space matter: Optuna's PED-ANOVA and fANOVA, with what they rest on.

PED-ANOVA (Watanabe et al. 2023): how far the values of a key in the best quarter of the trials lie from its values in
all of them. Only the order of the trials counts, so those that were stopped may take part with their best value so far,
and infeasible ones with the worst. With 30 trials it was the steadier of the two: at its own seeds' will, fANOVA gave
one key 0.31 and 0.50 of the whole.
fANOVA (Hutter et al. 2014): the share of the variance that one key explains alone. It takes final values, and is not
asked where the scheduler stopped some: those that finished are a selection, and what made the others bad is not in it.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.analysis.scale import position, searched
from tuner.results import Results
from tuner.space import Choice, Distribution, Point, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.importance import BaseImportanceEvaluator

METHODS = ("PED-ANOVA", "fANOVA")
FEWEST = 10  # trials
SELECTION = 0.1  # share of judged trials that did not finish, above which the finished ones are a selection
RESAMPLES = 10
SHUFFLES = 19  # to be above all of them has a probability of 1 in 20 by chance
BEST, BEST_FEWEST = 0.25, 5  # PED-ANOVA's top quantile; Optuna's advice is five trials or more in it
TREES = 16


@dataclass(frozen=True)
class Importance:
    """Of one key. share: of all keys' importance; low, high: 90 % of its resamples.

    trials: those that have the key. by_chance: whether shuffled values gave as much.
    """

    key: str
    share: float
    low: float
    high: float
    trials: int
    by_chance: bool


@dataclass(frozen=True)
class Importances:
    """method: one of METHODS. trials: those it may look at. rows: the most important key first; too few trials
    have none.

    left_out: keys that fewer than FEWEST trials have. outside: trials whose point lies outside of the ranges.
    """

    method: str
    trials: int
    rows: tuple[Importance, ...] = ()
    left_out: tuple[str, ...] = ()
    outside: int = 0


@dataclass(frozen=True)
class _Judged:
    point: Point
    value: float  # the larger the better


def importances(results: Results, method: str, seed: int = 0) -> Importances:
    """Of every searched key. A key that exists in some points only is judged over the trials that have it."""
    space = {key: known for key, known in results.sweep.distributions.items() if searched(known)}
    known = _judged(results, method)
    judged = [one for one in known if all(value in space[key] for key, value in one.point.items() if key in space)]
    outside = len(known) - len(judged)
    if len(judged) < FEWEST:
        return Importances(method, len(judged), left_out=tuple(space), outside=outside)
    rows: list[Importance] = []
    left_out: list[str] = []
    for own, keys in _groups(judged, space):
        if len(own) < FEWEST:
            left_out += keys
            continue
        beside = {key: known for key, known in space.items() if all(key in one.point for one in own)}
        rows += _together(method, keys, own, beside, seed)
    rows.sort(key=lambda row: -row.share)
    return Importances(method, len(judged), tuple(rows), tuple(left_out), outside)


def _groups(judged: Sequence[_Judged], keys: Iterable[str]) -> list[tuple[list[_Judged], list[str]]]:
    """Trials, and the keys that these and no others have."""
    found: dict[tuple[int, ...], list[str]] = {}
    for key in keys:
        found.setdefault(tuple(place for place, one in enumerate(judged) if key in one.point), []).append(key)
    return [([judged[place] for place in places], own) for places, own in found.items()]


def _judged(results: Results, method: str) -> list[_Judged]:
    """What the method may look at; nothing for fANOVA where the finished trials are a selection."""
    sign = 1.0 if results.sweep.objective.mode == "max" else -1.0
    valued = [
        (trial.state, _Judged(trial.point, sign * results.value(trial)))
        for trial in results.trials
        if trial.state in ("finished", "stopped") and math.isfinite(results.value(trial))
    ]
    infeasible = [trial for trial in results.trials if trial.state == "infeasible"]
    if method == "fANOVA":
        finished = [one for state, one in valued if state == "finished"]
        everything = len(valued) + len(infeasible)
        return finished if everything - len(finished) <= SELECTION * everything else []
    told = [one for _, one in valued]
    worst = min((one.value for one in told), default=0.0)
    return told + [_Judged(trial.point, worst) for trial in infeasible]


def _together(
    method: str, keys: Sequence[str], judged: Sequence[_Judged], space: dict[str, Distribution], seed: int
) -> list[Importance]:
    """Of `keys`, beside the other keys of the space that all these trials have."""
    generator = np.random.default_rng(seed)
    values = np.array([one.value for one in judged])
    everyone = np.arange(len(values))

    def evaluated(rows: np.ndarray, told: np.ndarray, draw: int) -> np.ndarray:  # (len(space),)
        found = _evaluate(method, [judged[row].point for row in rows], told, space, seed + draw)
        return np.array([found[key] for key in space])

    whole = evaluated(everyone, values, 0)
    resamples = []
    for draw in range(RESAMPLES):
        rows = generator.choice(everyone, len(everyone))
        resamples.append(_shares(evaluated(rows, values[rows], draw)))
    shuffled = np.max([evaluated(everyone, generator.permutation(values), d) for d in range(SHUFFLES)], axis=0)
    low, high = np.quantile(resamples, [0.05, 0.95], axis=0)
    shares = _shares(whole)
    return [
        Importance(key, float(shares[n]), float(low[n]), float(high[n]), len(judged), bool(whole[n] <= shuffled[n]))
        for n, key in enumerate(space)
        if key in keys
    ]


def _shares(raw: np.ndarray) -> np.ndarray:
    return raw / raw.sum() if raw.sum() > 0 else np.zeros_like(raw)


def _evaluate(
    method: str, points: Sequence[Point], values: np.ndarray, space: dict[str, Distribution], seed: int
) -> dict[str, float]:
    """Optuna's answer for points on the scale they were drawn on: its fANOVA would weigh a range of logarithms as if
    it were linear, nine tenths of it for the last decade."""
    import optuna
    from optuna.trial import create_trial

    distributions = {key: _distribution(known) for key, known in space.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            create_trial(
                params={key: _coordinate(known, point[key]) for key, known in space.items()},
                distributions=distributions,
                value=float(value),
            )
            for point, value in zip(points, values, strict=True)
        )
        evaluator = _evaluator(method, len(points), seed)
        return optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(space), normalize=False)


def _evaluator(method: str, trials: int, seed: int) -> "BaseImportanceEvaluator":
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    if method == "fANOVA":
        return FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
    return PedAnovaImportanceEvaluator(target_quantile=max(BEST, BEST_FEWEST / trials))


def _distribution(known: Distribution) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(known, Choice):
        return CategoricalDistribution(range(len(known.values)))
    return FloatDistribution(0.0, 1.0)


def _coordinate(known: Distribution, value: Value) -> float | int:
    if isinstance(known, Choice):
        return known.values.index(value)
    return min(max(position(known, value), 0.0), 1.0)
