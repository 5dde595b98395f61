"""BOHB's model (Falkner et al. 2018): kernel densities of good and bad points at the most epochs that many came to.

The optional packages hpbandster and ConfigSpace; their generator is given the results of one budget at a time, as
the paper has it: the largest that has enough for a model.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tuner.sampling.designs import random_point
from tuner.sampling.encoding import Code, decoded, encoded
from tuner.sampling.outcomes import Outcome, outcomes
from tuner.sampling.question import Draw, Question
from tuner.space import Choice

ATTEMPTS = 16


def bohb_point(question: Question) -> Draw:
    """One draw; until `search.startup` trials and two per dimension are known at some epoch, a random one.

    A trial counts at every epoch it came to, with its best value until then: running and stopped ones too, since
    each epoch is compared with itself. An infeasible one is bad at all of them.
    """
    known = outcomes(question)
    epoch = _budget(question, known)
    if epoch is None:
        return random_point(question)
    with _seeded(question.seed()):
        generator = _generator(question)
        _tell(question, generator, known, epoch)
        for _ in range(ATTEMPTS):
            point = decoded(question.space, _code(question, generator.get_config(epoch)[0]))
            if question.space.allows(point):
                return Draw(point)
    return random_point(question)


def _budget(question: Question, known: list[Outcome]) -> int | None:
    """The largest epoch at which enough trials have a value: as many good and bad ones as a density needs."""
    needed = max(question.sweep.search.startup, 2 * (len(question.space.distributions) + 1))
    infeasible = sum(one.kind == "infeasible" for one in known)
    epochs = sorted({epoch for one in known for epoch in one.scores}, reverse=True)
    for epoch in epochs:
        if infeasible + sum(max(one.scores, default=0) >= epoch for one in known) >= needed:
            return epoch
    return None


def _generator(question: Question) -> Any:
    import ConfigSpace
    from hpbandster.optimizers.config_generators.bohb import BOHB

    space = ConfigSpace.ConfigurationSpace(seed=question.seed())
    # names of our own: ConfigSpace sorts its keys, and refuses some characters of an override path
    for place, distribution in enumerate(question.space.distributions.values()):
        if isinstance(distribution, Choice):
            space.add(ConfigSpace.Categorical(_name(place), [str(n) for n in range(len(distribution.values))]))
        else:
            space.add(ConfigSpace.Float(_name(place), (0.0, 1.0)))
    return BOHB(space)


def _tell(question: Question, generator: Any, known: list[Outcome], epoch: int) -> None:
    from hpbandster.core.dispatcher import Job

    sign = -1.0 if question.sweep.objective.mode == "max" else 1.0
    counted = [one for one in known if one.kind == "infeasible" or max(one.scores, default=0) >= epoch]
    for count, one in enumerate(counted, start=1):
        losses = [sign * score for at, score in one.scores.items() if at <= epoch]
        code = encoded(question.space, one.point)
        job = Job((0, 0, count), config=_configuration(question, one, code), budget=epoch)
        job.result = {"loss": min(losses)} if losses else None
        job.timestamps = {}
        generator.new_result(job, update_model=count == len(counted))


def _configuration(question: Question, one: Outcome, code: Code) -> dict[str, Any]:
    """A density needs a value for every key: one that the trial has not gets a random one, always the same."""
    units = np.random.default_rng([question.sweep.search.seed, abs(one.trial.number)])
    configuration: dict[str, Any] = {}
    for place, (key, distribution) in enumerate(question.space.distributions.items()):
        unit = float(units.random())
        if isinstance(distribution, Choice):
            configuration[_name(place)] = str(int(code.get(key, int(unit * len(distribution.values)))))
        else:
            configuration[_name(place)] = float(code.get(key, unit))
    return configuration


def _code(question: Question, configuration: Any) -> Code:
    return {key: float(configuration[_name(place)]) for place, key in enumerate(question.space.distributions)}


def _name(place: int) -> str:
    return f"key{place:04d}"


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """hpbandster draws from numpy's global generator: seeded here, and given back as it was; its age warns a lot."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)
