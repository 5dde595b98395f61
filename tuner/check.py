"""What `roadmap-tune check` prints: everything that is known of a sweep before it is launched."""

from collections.abc import Iterator, Mapping

from trainables.console import readable_size
from trainables.errors import UserError
from trainables.probe import Cost, measure
from tuner import study
from tuner.forecast import Forecast, expected_epochs, forecast
from tuner.plan import Plan, cards
from tuner.space import Point, Value, paths
from tuner.sweep import Sweep


def check_lines(plan: Plan, probe: bool = True) -> Iterator[str]:
    """probe: train a few batches to say how long the sweep will take."""
    sweep = plan.sweep
    yield f"{sweep.name}: {sweep.goal}"
    yield (
        f"{plan.trials} trials of at most {plan.epochs} epochs, {sweep.search.sampler}, {sweep.scheduler.name}, "
        f"{sweep.budget.concurrent} at a time"
    )
    yield f"objective {sweep.objective.metric} ({sweep.objective.mode}) on {sweep.validation}"
    yield from (f"tradeoff {one.metric} ({one.mode})" for one in sweep.tradeoffs)
    yield from _space_lines(plan)
    yield from _study_lines(plan)
    yield from _fixed_lines(sweep)
    yield from _cost_lines(plan) if probe else [_epochs_line(plan, expected_epochs(plan))]
    yield from (f"warning: {warning}" for warning in plan.warnings)
    yield "every part composes; nothing was launched"


def forecast_lines(plan: Plan, found: Forecast, cost: Cost) -> Iterator[str]:
    """The cost of the sweep, and where it is above the budget."""
    sweep = plan.sweep
    yield _epochs_line(plan, found.expected)
    gpu = f", {found.gpu_hours:.2g} GPU hours" if sweep.resources.gpu else ""
    yield f"time: about {_duration(found.hours)}{gpu} ({cost.epoch_s:.2g} s an epoch, measured on a few batches)"
    yield f"disk: up to {readable_size(found.disk)} of checkpoints ({readable_size(cost.checkpoint_bytes)} each)"
    for key, hours in (("hours", found.hours), ("gpu_hours", found.gpu_hours)):
        allowed = getattr(sweep.budget, key)
        if allowed is not None and hours > allowed:
            yield f"warning: about {hours:.2g} hours, more than budget.{key}={allowed:g}: some trials will not be run"


def _epochs_line(plan: Plan, expected: float | None) -> str:
    scheduler, validation = plan.sweep.scheduler.name, plan.sweep.validation
    each = f", each of {validation.folds} folds" if validation.protocol == "kfold" else ""
    most = f"epochs: {plan.trials * plan.epochs:,} at most"
    if expected is None:
        return f"{most}{each}; how many {scheduler} saves shows only when it runs"
    return f"{most}, about {expected:,.0f} expected with {scheduler}{each}"


def _space_lines(plan: Plan) -> Iterator[str]:
    space = plan.sweep.searched
    for key, distribution in space.distributions.items():
        beside = f", when {_conditions(space.conditions[key])}" if key in space.conditions else ""
        preset = f", preset {plan.defaults[key]}" if key in plan.defaults and key in space.searched else ""
        yield f"  {key}: {distribution}{beside}{preset}"
    yield from (f"  where {constraint.text}" for constraint in space.constraints)


def _conditions(conditions: Mapping[str, tuple[Value, ...]]) -> str:
    return " and ".join(f"{key} is {' or '.join(str(value) for value in values)}" for key, values in conditions.items())


def _study_lines(plan: Plan) -> Iterator[str]:
    sweep = plan.sweep
    if sweep.study is None:
        return
    arms = study.arms(sweep.searched, sweep.study)
    points = -(-(plan.trials - 1) // len(arms))
    optimised = ", ".join(sweep.study.nuisance) or "nothing"
    yield f"study: {len(arms)} arms, each with the same {points} points of {optimised}"
    yield from (f"  arm {_arm(sweep, arm)}" for arm in arms)


def _arm(sweep: Sweep, arm: Point) -> str:
    assert sweep.study is not None
    return " ".join(f"{key}={arm[key]}" for key in sweep.study.scientific if key in arm)


def _fixed_lines(sweep: Sweep) -> Iterator[str]:
    """What every trial shares is what the sweep says nothing about."""
    reasons = {} if sweep.study is None else sweep.study.fixed
    searched = {path for key in sweep.space for path in paths(key)}
    fixed = [text for text in sweep.train if text.partition("=")[0] not in searched]
    if fixed:
        yield "fixed: of other values of these, and of all that is not named here, the sweep can tell nothing"
    for text in fixed:
        path = text.lstrip("+").partition("=")[0]
        yield f"  {text}" + (f": {reasons[path]}" if path in reasons else "")


def _cost_lines(plan: Plan) -> Iterator[str]:
    try:
        if plan.sweep.resources.gpu and not cards():
            raise UserError("this machine has no GPU")
        cost = measure(plan.base, device=None if plan.sweep.resources.gpu else "cpu")
    except UserError as error:
        yield f"epochs: {plan.trials * plan.epochs:,} at most; time and disk cannot be measured: {error}"
        return
    yield from forecast_lines(plan, forecast(plan, cost), cost)


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours >= 1 / 60 else f"{hours * 3600:.0f} seconds"
