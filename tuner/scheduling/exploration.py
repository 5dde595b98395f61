"""What a copied point becomes, and which spaces allow it: the settings that a running training may change."""

from itertools import product

import numpy as np

from trainables.building import build_losses
from trainables.composition import compose
from trainables.difference import difference
from trainables.errors import UserError
from trainables.experiment import Experiment
from tuner.scheduling.rule import Exchange
from tuner.space import Choice, Distribution, Int, Point, Uniform, Value, overrides
from tuner.sweep import Sweep

FACTORS = (0.8, 1.2)  # of the paper, section 4.1
TRIED = 100  # perturbed points that break a constraint, before the donor's own is taken
SAMPLERS = ("random", "sobol", "grid")  # the others would learn from values that other settings have reached


def explored(sweep: Sweep, exchange: Exchange, donor: Point) -> Point:
    """The donor's point, each searched value perturbed; the same for the same seed, trial number and epoch."""
    space = sweep.searched
    generator = np.random.default_rng([sweep.search.seed, exchange.number, exchange.epoch, 1])
    for _ in range(TRIED):
        point = dict(donor)
        for key in space.searched:
            point[key] = _perturbed(space.distributions[key], donor[key], sweep.scheduler.resample, generator)
        if space.allows(point):
            return point
    return dict(donor)


def check_pbt(sweep: Sweep) -> None:
    """UserError in one line where trials of the sweep cannot take over each other's weights."""
    space, samplers = sweep.searched, ", ".join(SAMPLERS)
    if sweep.search.sampler not in SAMPLERS:
        raise UserError(f"search.sampler={sweep.search.sampler!r} would learn from copied trials; with pbt: {samplers}")
    for key in space.distributions:
        if space.conditions.get(key):
            raise UserError(f"space.{key}: pbt changes values in a running training, where every key must exist")
    for key in space.searched:
        first, *others = (_with(sweep, key, value) for value in space.distributions[key].edges())
        for other in others:
            _check_changeable(key, first, other)


def _with(sweep: Sweep, key: str, value: Value) -> Experiment:
    constants = {other: space.edges()[0] for other, space in sweep.distributions.items()
                 if isinstance(space, Choice) and space.constant}  # fmt: skip
    return compose([*sweep.fixed(), *overrides({**constants, key: value})])


def _check_changeable(key: str, before: Experiment, after: Experiment) -> None:
    phrase = difference(before, after, scheduled=True)
    if phrase is not None:
        raise UserError(
            f"space.{key}: {phrase}; with pbt only learning rates, weight decay, loss settings and weights are searched"
        )
    if any(part.scheduler_on_val is not None for part in after.optimizer):
        raise UserError("scheduler.name='pbt' and scheduler_on_val would both change the learning rate by the values")
    for old, new in product(build_losses(before), build_losses(after)):
        shapes = [{name: tuple(value.shape) for name, value in term.loss.state_dict().items()} for term in (old, new)]
        if old.name == new.name and shapes[0] != shapes[1]:
            raise UserError(f"space.{key}: it changes what {new.name} has learned; pbt cannot copy its state")


def _perturbed(known: Distribution, value: Value, resample: float, generator: np.random.Generator) -> Value:
    draw, sign, place = (float(number) for number in generator.random(3))
    if draw < resample:
        return known.at(place)
    up = sign >= 0.5
    if isinstance(known, Choice):
        return _neighbour(known.values, value, up)
    scaled = float(value) * FACTORS[up]
    if isinstance(known, Uniform):
        return known.nearest(scaled)
    return _whole(known, int(value), scaled, up)


def _neighbour(values: tuple[Value, ...], value: Value, up: bool) -> Value:
    """The next one in the order of the file; at an end the only one there is, of the preset outside it the first."""
    if value not in values or len(values) == 1:
        return values[0]
    place = values.index(value)
    last = len(values) - 1
    up = place == 0 or (up and place < last)
    return values[place + 1 if up else place - 1]


def _whole(known: Int, value: int, scaled: float, up: bool) -> int:
    """The nearest whole number of the range, at least one step away where there is one."""
    place = round((scaled - known.low) / known.step)
    before = round((value - known.low) / known.step)
    place = max(place, before + 1) if up else min(place, before - 1)
    return known.low + known.step * min(max(place, 0), known.steps)
