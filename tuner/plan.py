"""Sweep -> Plan: every part composed and checked before anything is launched or written."""

from collections.abc import Callable
from dataclasses import dataclass

from trainables.building import build_dataset
from trainables.composition import compose, preset
from trainables.data import summary
from trainables.data.loading import cores
from trainables.errors import UserError, unknown
from trainables.evaluation import metric_names
from trainables.experiment import Experiment
from tuner import budget, space, store
from tuner.search import planned_trials
from tuner.space import Choice, Point
from tuner.sweep import Sweep

# what the sweep itself decides; a value in `train` or `space` would be overruled without a word
DECIDED = {
    "experience.holdout": "validation.fraction",
    "experience.kfold": "validation.protocol",
    "experience.split": "validation.protocol",
    "experience.split_random_state": "validation.seed",
    "experience.principal_metric": "objective.metric",
    "experience.val_eval_freq": "the sweep: a trial is validated every epoch",
    "experience.test_eval_freq": "the sweep: a trial never sees the test split",
    "experience.num_threads": "resources.cpu",
    "experience.resume": "the sweep: each trial starts from its own checkpoint",
    "experience.maybe_resume": "the sweep: each trial starts from its own checkpoint",
}


@dataclass(frozen=True)
class Plan:
    """A sweep that can run: what is fixed, where it starts, how long a trial is, what to warn of."""

    sweep: Sweep
    defaults: Point  # the presets' values at the searched paths: trial 0
    base: Experiment  # the defaults' experiment
    trials: int
    epochs: int
    warnings: tuple[str, ...]

    def experiment(self, point: Point) -> Experiment:
        """The Experiment of one point; UserError where its values do not fit together."""
        return compose([*self.sweep.fixed(), *space.overrides(point)])


def make_plan(sweep: Sweep) -> Plan:
    """Checks everything that can be known before launch; UserError in one line for the first thing wrong."""
    _check_decided(sweep)
    _check_objective(sweep, compose(sweep.train))  # before it becomes the principal metric of an experiment
    base = compose(sweep.fixed())
    _check_resources(sweep, base)
    defaults = _defaults(sweep)
    plan = Plan(
        sweep,
        defaults,
        base,
        planned_trials(sweep),
        base.experience.max_iter,
        _warnings(sweep, base, defaults),
    )
    _check_edges(plan)
    if sweep.scheduler.name == "asha" and sweep.scheduler.grace > plan.epochs:
        raise UserError(
            f"scheduler.grace={sweep.scheduler.grace} is past the last epoch: experience.max_iter={plan.epochs}"
        )
    budget.check(sweep)
    store.check(sweep.tracking)
    return plan


def prepare_data(plan: Plan, progress: Callable[[str, int, int], None]) -> list[str]:
    """The data set on this machine, built or fetched where it can be; what is in it, line by line."""
    dataset = build_dataset(plan.base)
    dataset.ensure(progress)
    return summary(dataset)


def _check_decided(sweep: Sweep) -> None:
    written = [text.lstrip("+").partition("=")[0] for text in sweep.train]
    searched = [path for key in sweep.space for path in space.paths(key)]
    for path in (*written, *searched):
        if path in DECIDED:
            raise UserError(f"{path} is decided by {DECIDED[path]}; it cannot stand in train or space")
    for path in searched:
        if path in ("experience.max_iter", "experience.save_model"):
            raise UserError(f"space.{path}: the number of epochs is a budget, not a hyperparameter; set it in train")
        if path in written:
            raise UserError(f"{path} stands in train and in space: fix it or search it")


def _check_objective(sweep: Sweep, base: Experiment) -> None:
    metric = sweep.objective.metric
    if metric.startswith("test/"):
        raise UserError(f"objective.metric={metric!r}: a sweep never sees the test split; use 'val/{metric[5:]}'")
    known = [f"val/{name}" for name in metric_names(base.dataset.ks, base.experience.with_AP)]
    if metric not in known:
        raise unknown("metric", metric, known, where="objective.metric")


def _check_resources(sweep: Sweep, base: Experiment) -> None:
    resources, concurrent = sweep.resources, sweep.budget.concurrent
    available = cores()
    trial = resources.cpu * resources.workers
    workers = f" with resources.workers={resources.workers}" if resources.workers > 1 else ""
    if trial * concurrent > available:
        advice = f": --set budget.concurrent={available // trial}" if trial <= available else ""
        raise UserError(
            f"budget.concurrent={concurrent} trials of resources.cpu={resources.cpu}{workers} need "
            f"{trial * concurrent} cores, this machine has {available}{advice}"
        )
    if resources.workers > 1:
        _check_workers(sweep, base)
    if resources.gpu > 0:
        import torch

        if resources.gpu * resources.workers > torch.cuda.device_count():
            raise UserError(
                f"resources.gpu={resources.gpu:g} a trial{workers}, this machine has {torch.cuda.device_count()}"
            )


def _check_workers(sweep: Sweep, base: Experiment) -> None:
    resources = sweep.resources
    if resources.gpu not in (0, 1):
        raise UserError(
            f"resources.gpu={resources.gpu:g}: with resources.workers={resources.workers} each has one whole GPU, or 0"
        )
    batch = base.dataset.sampler.kwargs.get("batch_size")
    if isinstance(batch, int) and batch < resources.workers:
        raise UserError(f"resources.workers={resources.workers} cannot share a batch of batch_size={batch} images")


def _defaults(sweep: Sweep) -> Point:
    point: Point = {}
    for key in sweep.space:
        values = [preset(path, sweep.fixed()) for path in space.paths(key)]
        # paths that are tied have one value in the sweep; the defaults keep the first one's
        point[key] = values[0]
        if not isinstance(values[0], bool | int | float | str):
            compose([*sweep.fixed(), *space.overrides({key: sweep.distributions[key].edges()[0]})])
            raise UserError(f"space.{key}: the preset has no single value there, but {values[0]!r}")
    return point


def _check_edges(plan: Plan) -> None:
    """Both ends of every range and each choice must make a valid Experiment, the rest at the defaults."""
    for key, distribution in plan.sweep.distributions.items():
        for value in distribution.edges():
            try:
                plan.experiment({**plan.defaults, key: value})
            except UserError as error:
                raise UserError(f"space.{key}={value}: {error}") from None


def _warnings(sweep: Sweep, base: Experiment, defaults: Point) -> tuple[str, ...]:
    found = []
    for key, distribution in sweep.distributions.items():
        if defaults[key] not in distribution and not isinstance(distribution, Choice):
            found.append(f"the preset {key}={defaults[key]} lies outside the searched {distribution}")
    if sweep.scheduler.name == "asha" and sweep.scheduler.grace >= base.experience.max_iter:
        found.append("scheduler.grace reaches the last epoch: ASHA can stop nothing")
    if not any(path.endswith(".lr") for key in sweep.space for path in space.paths(key)):
        found.append("no learning rate is searched: the winner may only suit the preset's")
    if sweep.search.trials < 4 * len(sweep.space):
        found.append(f"{sweep.search.trials} trials are few for {len(sweep.space)} searched values")
    return tuple(found)
