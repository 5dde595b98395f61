"""What of `search` can be refused before anything is launched or written."""

from importlib.util import find_spec

from trainables.errors import UserError
from tuner.sampling.designs import DESIGNS, random_point
from tuner.sampling.earlier import earlier_sweeps
from tuner.sampling.question import Question
from tuner.space import Choice
from tuner.sweep import Sweep

# sampler -> what it needs beside requirements.txt: module -> how pip calls it
OPTIONAL = {
    "hyperopt": {"hyperopt": "hyperopt>=0.3,<1"},
    "bohb": {"hpbandster": "hpbandster>=0.7.4,<1", "ConfigSpace": "ConfigSpace>=1.2,<2"},
}


def check_search(sweep: Sweep) -> None:
    """UserError in one line for the first thing that the sampler cannot do."""
    _check_installed(sweep.search.sampler)
    if sweep.search.sampler == "cmaes":
        _check_numbers(sweep)
    if sweep.search.warm_start and sweep.search.sampler in DESIGNS:
        raise UserError(f"search.warm_start: the {sweep.search.sampler} sampler learns nothing from earlier sweeps")
    random_point(Question.of(sweep, 1, {}))
    earlier_sweeps(sweep)


def _check_installed(sampler: str) -> None:
    missing = [name for module, name in OPTIONAL.get(sampler, {}).items() if find_spec(module) is None]
    if missing:
        named = " ".join(f"'{name}'" for name in missing)
        raise UserError(f"search.sampler={sampler} needs a package that is not installed: pip install {named}")


def _check_numbers(sweep: Sweep) -> None:
    space = sweep.searched
    for key, distribution in space.distributions.items():
        if isinstance(distribution, Choice) and len(distribution.values) > 1:
            raise UserError(f"space.{key}: cmaes searches numbers, not {distribution}; tpe, gp and nsga2 do")
        if space.conditions.get(key):
            raise UserError(f"space.{key}: cmaes needs every key in every trial; tpe has conditions")
