"""What of `search` can be refused before anything is launched or written."""

from collections.abc import Mapping
from importlib.util import find_spec

from trainables.errors import UserError
from tuner.sampling.designs import DESIGNS, random_point
from tuner.sampling.earlier import earlier_sweeps
from tuner.sampling.given import given_points
from tuner.sampling.question import Question
from tuner.space import Choice, Value
from tuner.sweep import Sweep

# sampler -> what it needs beside requirements.txt: module -> how pip calls it
OPTIONAL = {
    "hyperopt": {"hyperopt": "hyperopt>=0.3,<1"},
    "bohb": {"hpbandster": "hpbandster>=0.7.4,<1", "ConfigSpace": "ConfigSpace>=1.2,<2"},
}
SEVERAL = ("tpe", "nsga2")  # samplers of several objectives


def check_search(sweep: Sweep, defaults: Mapping[str, Value]) -> None:
    """UserError in one line for the first thing that the sampler cannot do. defaults: the presets' point."""
    _check_installed(sweep.search.sampler)
    _check_objectives(sweep)
    if sweep.search.sampler == "cmaes":
        _check_numbers(sweep)
    if sweep.search.warm_start and sweep.search.sampler in DESIGNS:
        raise UserError(f"search.warm_start: the {sweep.search.sampler} sampler learns nothing from earlier sweeps")
    points = given_points(sweep, defaults)
    if len(points) > sweep.search.trials - 1:
        raise UserError(
            f"search.points has {len(points)} points, search.trials={sweep.search.trials} leaves room for "
            f"{sweep.search.trials - 1} beside the presets'"
        )
    random_point(Question.of(sweep, 1, {}))
    earlier_sweeps(sweep)


def _check_installed(sampler: str) -> None:
    missing = [name for module, name in OPTIONAL.get(sampler, {}).items() if find_spec(module) is None]
    if missing:
        named = " ".join(f"'{name}'" for name in missing)
        raise UserError(f"search.sampler={sampler} needs a package that is not installed: pip install {named}")


def _check_objectives(sweep: Sweep) -> None:
    names = [one.metric for one in (sweep.objective, *sweep.tradeoffs)]
    for name in names[1:]:
        if name.startswith("test/"):
            raise UserError(f"tradeoffs: {name!r}: a sweep never sees the test split")
        if names.count(name) > 1:
            raise UserError(f"tradeoffs: {name!r} is named twice, or is the objective itself")
    if sweep.tradeoffs and sweep.search.sampler not in SEVERAL:
        raise UserError(
            f"search.sampler={sweep.search.sampler} has one objective, tradeoffs need {' or '.join(SEVERAL)}"
        )


def _check_numbers(sweep: Sweep) -> None:
    space = sweep.searched
    for key, distribution in space.distributions.items():
        if isinstance(distribution, Choice) and len(distribution.values) > 1:
            raise UserError(f"space.{key}: cmaes searches numbers, not {distribution}; tpe, gp and nsga2 do")
        if space.conditions.get(key):
            raise UserError(f"space.{key}: cmaes needs every key in every trial; tpe has conditions")
