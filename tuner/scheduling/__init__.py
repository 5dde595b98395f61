"""Which trials are stopped early: rules of the `scheduler` block, made here, and their Ray side in tune.py."""

from collections.abc import Callable

from trainables.errors import UserError
from tuner.scheduling import asha, hyperband
from tuner.scheduling.exploration import check_pbt
from tuner.scheduling.median import MedianStopping
from tuner.scheduling.pbt import PBT
from tuner.scheduling.rule import BASELINE, EveryEpoch, Exchange, Rule, Verdict
from tuner.sweep import Sweep

__all__ = ["BASELINE", "GRACED", "RULES", "Exchange", "Rule", "Verdict", "check", "make_rule", "rungs"]


def _asha(sweep: Sweep, epochs: int, trials: int) -> Rule:
    settings = sweep.scheduler
    return asha.ASHA(
        sweep.objective.mode,
        epochs,
        grace=settings.grace,
        reduction=settings.reduction,
        brackets=settings.brackets,
        seed=sweep.search.seed,
    )


def _hyperband(sweep: Sweep, epochs: int, trials: int) -> Rule:
    settings = sweep.scheduler
    return hyperband.HyperBand(
        sweep.objective.mode, epochs, grace=settings.grace, reduction=settings.reduction, trials=trials
    )


def _median(sweep: Sweep, epochs: int, trials: int) -> Rule:
    return MedianStopping(sweep.objective.mode, epochs, grace=sweep.scheduler.grace)


def _pbt(sweep: Sweep, epochs: int, trials: int) -> Rule:
    settings = sweep.scheduler
    return PBT(
        sweep.objective.mode,
        epochs,
        interval=settings.interval,
        quantile=settings.quantile,
        trials=trials,
        seed=sweep.search.seed,
    )


def _none(sweep: Sweep, epochs: int, trials: int) -> Rule:
    return EveryEpoch(sweep.objective.mode, epochs)


RULES: dict[str, Callable[[Sweep, int, int], Rule]] = {
    "asha": _asha,
    "hyperband": _hyperband,
    "median": _median,
    "pbt": _pbt,
    "none": _none,
}
GRACED = ("asha", "hyperband", "median")


def make_rule(sweep: Sweep, epochs: int, trials: int) -> Rule:
    """The rule of the sweep before any report. epochs: of a trial that is not stopped; trials: all that are planned."""
    return RULES[sweep.scheduler.name](sweep, epochs, trials)


def rungs(sweep: Sweep, epochs: int) -> list[int]:
    """The epochs at which the sweep's rule compares trials, ASHA's of its first bracket; none where it is every one."""
    settings = sweep.scheduler
    if settings.name == "asha":
        return asha.geometric(settings.grace, settings.reduction, epochs)
    if settings.name == "hyperband":
        return hyperband.rungs(settings.grace, settings.reduction, epochs)
    return []


def check(sweep: Sweep, epochs: int) -> None:
    """UserError where the sweep's rule does not fit trials of so many epochs."""
    settings = sweep.scheduler
    if settings.name in GRACED and settings.grace > epochs:
        raise UserError(f"scheduler.grace={settings.grace} is past the last epoch: experience.max_iter={epochs}")
    if settings.name == "pbt":
        check_pbt(sweep)
