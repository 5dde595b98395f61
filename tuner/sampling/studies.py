"""Optuna's samplers, their study rebuilt from the journal for every question: TPE, a Gaussian process, NSGA-II."""

import copy
import datetime
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tuner.sampling.designs import random_point
from tuner.sampling.outcomes import Outcome, completed, objectives, outcomes
from tuner.sampling.question import Draw, Question
from tuner.sampling.units import plain
from tuner.space import Choice, Distribution, Int, Point, Value

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

ATTEMPTS = 8  # answers of a model that may miss the constraints before a random point takes their place


def tpe_point(question: Question) -> Draw:
    """Tree-structured Parzen estimator, multivariate (Falkner et al. 2018, as in Optuna), with constant liar.

    Keys that exist only beside some values are modelled in groups of those that exist together. A stopped trial is
    told as pruned with its values by epoch, an infeasible one as pruned before its first value: the worst there is.
    Of several objectives Optuna knows no pruned values: there a stopped trial ranks with the infeasible ones.
    """
    import optuna

    def sampler(seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            group=bool(question.space.conditions),
            constant_liar=True,
            n_startup_trials=question.sweep.search.startup,
        )

    return _ask(question, sampler, pruned_trials(question, outcomes(question)))[0]


def gp_point(question: Question) -> Draw:
    """A Gaussian process with log expected improvement, over the running trials too where Optuna does (5.0).

    Stopped and infeasible trials count as the worst that finished. Keys that do not exist in every trial so far are
    drawn at random.
    """
    import optuna

    def sampler(seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=question.sweep.search.startup)

    return _ask(question, sampler, complete_trials(question, outcomes(question)))[0]


def nsga2_point(question: Question) -> Draw:
    """NSGA-II (Deb et al. 2002) over the objective and the trade-offs; the note says which generation a trial is of.

    Children lie around and between their parents (BLX-alpha, Eshelman and Schaffer 1993): Optuna's default crossover
    only exchanges values, which at 60 trials was no better than chance.

    Trials that no sampler drew (the presets', the file's own, earlier sweeps') are of the first generation. Stopped
    and infeasible ones count as the worst that finished, in every objective.
    """
    from optuna.samplers import NSGAIISampler
    from optuna.samplers.nsgaii import BLXAlphaCrossover

    size = population(len(question.space.distributions))
    key = NSGAIISampler._get_generation_key()
    told = complete_trials(question, outcomes(question), generation=key)

    def sampler(seed: int) -> NSGAIISampler:
        return NSGAIISampler(population_size=size, crossover=BLXAlphaCrossover(), seed=seed)

    draw, attributes = _ask(question, sampler, told)
    return Draw(draw.point, {"generation": int(attributes.get(key, 0))})


def population(keys: int) -> int:
    """Of NSGA-II; Optuna's 50 would spend a whole sweep on the first generation."""
    return max(8, 2 * keys)


def pruned_trials(question: Question, known: Sequence[Outcome]) -> "list[FrozenTrial]":
    """For TPE, which knows what pruned means."""
    from optuna.trial import TrialState

    single = len(objectives(question.sweep)) == 1
    states = {"finished": TrialState.COMPLETE, "running": TrialState.RUNNING}
    return [
        _frozen(question, one, states.get(one.kind, TrialState.PRUNED), one.values, one.scores if single else {})
        for one in known
    ]


def complete_trials(question: Question, known: Sequence[Outcome], generation: str = "") -> "list[FrozenTrial]":
    """For models of finished trials. generation: the attribute under which NSGA-II looks for it."""
    from optuna.trial import TrialState

    values = {one.trial.number: told for one, told in completed(question.sweep, known)}
    told = []
    for one in known:
        attributes = {generation: one.trial.note.get("generation", 0)} if generation else {}
        number = one.trial.number
        if number in values:
            told.append(_frozen(question, one, TrialState.COMPLETE, values[number], {}, attributes))
        elif one.kind == "running":
            told.append(_frozen(question, one, TrialState.RUNNING, (), {}, attributes))
    return told


def _ask(
    question: Question,
    sampler: "Callable[[int], optuna.samplers.BaseSampler]",
    told: "Sequence[FrozenTrial]",
) -> tuple[Draw, dict[str, Any]]:
    """The draw and what the sampler noted in the study beside it."""
    import optuna
    from optuna.study import StudyDirection

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # GP warns of an accelerator that is not installed
    directions = [
        StudyDirection.MAXIMIZE if one.mode == "max" else StudyDirection.MINIMIZE for one in objectives(question.sweep)
    ]
    for attempt in range(ATTEMPTS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(directions=directions, sampler=sampler(question.seed(attempt)))
        study.add_trials(told)
        trial = study.ask()
        point: Point = {}
        for key, distribution in question.space.distributions.items():
            if question.space.active(key, point):
                point[key] = plain(_suggested(trial, key, distribution))
        if question.space.allows(point):
            return Draw(point), study.get_trials(deepcopy=False)[-1].system_attrs
    return random_point(question), {}


def _frozen(
    question: Question,
    one: Outcome,
    state: "optuna.trial.TrialState",
    values: Sequence[float],
    scores: dict[int, float],
    attributes: dict[str, Any] | None = None,
) -> "FrozenTrial":
    from optuna.trial import TrialState

    now = datetime.datetime.now()
    running = state == TrialState.RUNNING
    return told_trial()(
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        values=list(values) if state == TrialState.COMPLETE else None,
        datetime_start=now,
        datetime_complete=None if running else now,
        params=dict(one.point),
        distributions={key: optuna_distribution(question.space.distributions[key]) for key in one.point},
        user_attrs={},
        system_attrs=attributes or {},
        intermediate_values=dict(scores),
    )


@cache
def told_trial() -> "type[FrozenTrial]":
    """A trial that a study may have as it is: Optuna copies each one deeply, more than half of a question's time."""
    from optuna.trial import FrozenTrial

    class Told(FrozenTrial):
        def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
            return copy.copy(self)

    return Told


def _suggested(trial: "optuna.trial.Trial", key: str, distribution: Distribution) -> Value:
    if isinstance(distribution, Choice):
        chosen = trial.suggest_categorical(key, distribution.values)
        assert chosen is not None, "no choice is None"
        return chosen
    low, high = distribution.edges()
    if isinstance(distribution, Int):
        return trial.suggest_int(key, int(low), int(high), step=distribution.step, log=distribution.log)
    step = None if distribution.log else distribution.step
    return distribution.nearest(trial.suggest_float(key, low, high, log=distribution.log, step=step))


def optuna_distribution(distribution: Distribution) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, Choice):
        return CategoricalDistribution(distribution.values)
    low, high = distribution.edges()
    if isinstance(distribution, Int):
        return IntDistribution(int(low), int(high), step=distribution.step, log=distribution.log)
    # Optuna has no steps on a log scale: the range there, and the nearest step of what it draws
    return FloatDistribution(low, high, log=distribution.log, step=None if distribution.log else distribution.step)
