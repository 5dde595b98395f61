"""A study: what is compared, and the same points of everything else in every arm of the comparison.

Terms of Google's Deep Learning Tuning Playbook. An arm is one combination of the scientific keys. Trial 0 is the
presets' point; after it the trials go round the arms: 1 ... A are the arms with the first nuisance point, A + 1 ... 2A
with the second. Only samplers that do not look at results may draw the nuisance points: others would adapt to an arm.
"""

from collections.abc import Callable, Iterator
from itertools import count, islice

from trainables.errors import UserError, unknown
from tuner.language import WHEN
from tuner.schema import Study
from tuner.space import Choice, Point, Space, grid
from tuner.sweep import Sweep

SAMPLERS = ("random", "sobol", "grid")
TRIED = 10_000  # nuisance points in a row that not every arm allows, before the constraints are called impossible


def arms(space: Space, study: Study) -> list[Point]:
    """Every combination of the scientific keys, conditions among them respected; the last key fastest."""
    scientific = {key: known for key, known in space.distributions.items() if key not in study.nuisance}
    constraints = tuple(one for one in space.constraints if one.keys <= scientific.keys())
    return list(grid(Space(scientific, space.conditions, constraints)))


def split(number: int, arms: int) -> tuple[int, int]:
    """(arm, index of the nuisance point) of a trial, number >= 1."""
    return (number - 1) % arms, (number - 1) // arms


def nuisance(sweep: Sweep) -> Sweep:
    """The sweep over the nuisance keys alone: what the sampler draws from, by index, alike for every arm."""
    study = _study(sweep)
    written = {}
    for key in study.nuisance:
        value = dict(sweep.space[key])
        conditions = {other: of for other, of in value.pop(WHEN, {}).items() if other in study.nuisance}
        written[key] = {**value, **({WHEN: conditions} if conditions else {})}
    constraints = tuple(one.text for one in sweep.searched.constraints if one.keys <= set(study.nuisance))
    return sweep.model_copy(update={"space": written, "constraints": constraints, "study": None})


def point(sweep: Sweep, number: int, draw: Callable[[int], Point]) -> Point:
    """The point of trial `number` >= 1: its arm's scientific values, and the nuisance point that every arm has.

    draw: index -> a point of `nuisance(sweep)`. Those that an arm does not allow are passed over in all of them.
    """
    space, compared = sweep.searched, arms(sweep.searched, _study(sweep))
    arm, index = split(number, len(compared))
    return joined(space, compared[arm], next(islice(_shared(space, compared, draw), index, None)))


def joined(space: Space, arm: Point, drawn: Point) -> Point:
    """The keys of both that exist beside each other, in the order of the space."""
    constants = {key: space.distributions[key].edges()[0] for key in space.distributions if key not in space.searched}
    both, found = {**constants, **arm, **drawn}, Point()
    for key in space.distributions:
        if key in both and space.active(key, found):
            found[key] = both[key]
    return found


def grid_trials(sweep: Sweep) -> int:
    """How many trials a study on a grid has: each nuisance point in each arm, and trial 0."""
    space, compared = sweep.searched, arms(sweep.searched, _study(sweep))
    shared = (one for one in grid(nuisance(sweep).searched) if _in_every_arm(space, compared, one))
    return 1 + len(compared) * sum(1 for _ in shared)


def check_study(sweep: Sweep) -> None:
    """UserError in one line where the blocks do not fit together."""
    study, space = sweep.study, sweep.searched
    if study is None:
        return
    _check_keys(study, space)
    if sweep.search.sampler not in SAMPLERS:
        allowed = ", ".join(SAMPLERS)
        raise UserError(
            f"search.sampler={sweep.search.sampler!r} would adapt to each arm of the study: {allowed} do not"
        )
    if sweep.scheduler.name == "pbt":
        raise UserError("scheduler.name='pbt' would copy settings from one arm of the study to another")
    written = {text.lstrip("+").partition("=")[0] for text in sweep.train}
    for path in study.fixed:
        if path not in written:
            raise unknown("path of train", path, written, where="study.fixed")
    if not arms(space, study):
        raise UserError("study.scientific: the constraints allow no arm")


def _check_keys(study: Study, space: Space) -> None:
    if not study.scientific:
        raise UserError("study.scientific is empty: a study compares the values of at least one key")
    for block, keys in (("scientific", study.scientific), ("nuisance", study.nuisance)):
        for key in keys:
            if key not in space.distributions:
                raise unknown("key of the space", key, space.distributions, where=f"study.{block}")
        if len(set(keys)) != len(keys):
            raise UserError(f"study.{block} names a key twice: {', '.join(keys)}")
    for key in space.searched:
        if (key in study.scientific) == (key in study.nuisance):
            both = "both scientific and nuisance" if key in study.scientific else "neither scientific nor nuisance"
            raise UserError(f"study: {key} is {both}; a searched key is one of them")
    for key in study.scientific:
        if not isinstance(space.distributions[key], Choice):
            raise UserError(f"study.scientific: {key} is a range; an arm needs one value: choice or grid")
        for other in space.conditions.get(key, {}):
            if other in study.nuisance:
                raise UserError(f"study.scientific: {key} exists only with values of {other}, which is a nuisance")


def _shared(space: Space, compared: list[Point], draw: Callable[[int], Point]) -> Iterator[Point]:
    refused = 0
    for index in count():
        drawn = draw(index)
        if _in_every_arm(space, compared, drawn):
            refused = 0
            yield drawn
        elif (refused := refused + 1) == TRIED:
            raise UserError(f"constraints: none of {TRIED} points of the nuisance keys is allowed in every arm")


def _in_every_arm(space: Space, compared: list[Point], drawn: Point) -> bool:
    return all(space.allows(joined(space, arm, drawn)) for arm in compared)


def _study(sweep: Sweep) -> Study:
    assert sweep.study is not None, "only a sweep with a study has arms"
    return sweep.study
