"""Sweep -> Plan: every part composed and checked before anything is launched or written."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trainables.building import build_dataset, build_sampler
from trainables.composition import compose, groups
from trainables.data import summary
from trainables.data.loading import cores
from trainables.errors import UserError, unknown
from trainables.evaluation import metric_names
from trainables.experiment import Experiment
from trainables.splitting import train_and_validation, trainings
from tuner import budget, presets, probe, scheduling, space, store, study
from tuner.edges import checked_points
from tuner.room import Room
from tuner.sampling import check_search, planned_trials
from tuner.space import Point
from tuner.sweep import Sweep
from tuner.warnings import warnings

# what a trial costs, which may be weighed against the objective
COSTS = ("model/dim", "model/parameters", "time/embed_ms")
# what the sweep itself decides; a value in `train` or `space` would be overruled without a word
DECIDED = {
    "experience.holdout": "validation.fraction",
    "experience.kfold": "validation.protocol",
    "experience.split": "validation.protocol",
    "experience.split_random_state": "validation.seed",
    "experience.with_super_labels": "validation.unit",
    "experience.closed_set": "validation.unit",
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
    data: tuple[Experiment, ...]  # one for each data set that a trial may read
    trials: int
    epochs: int
    warnings: tuple[str, ...]
    room: Room | None = None  # of the cluster that it is to run on; None: this machine, or one that is not known yet

    def experiment(self, point: Point) -> Experiment:
        """The Experiment of one point; UserError where its values do not fit together."""
        return compose([*self.sweep.fixed(), *space.overrides(point)])


def make_plan(sweep: Sweep, here: bool = True, room: Room | None = None, launching: bool = True) -> Plan:
    """Checks everything that can be known before launch; UserError in one line for the first thing wrong.

    here: it is to run on this machine; else too few cores or GPUs are a warning. room: it is to run on a cluster that
    has it. launching: False where a sweep is changed that was launched before: its MLflow, which may be away for a
    while, is not asked.
    """
    _check_decided(sweep)
    study.check_study(sweep)
    _check_objectives(sweep, compose(sweep.train))  # before it becomes the principal metric of an experiment
    search = sweep.search.model_copy(update={"points": presets.whole_points(sweep)})
    sweep = sweep.model_copy(update={"search": search})
    defaults = presets.defaults(sweep)
    base = compose([*sweep.fixed(), *space.overrides(defaults)])
    missing = _missing(sweep, base, here, room)
    epochs = base.experience.max_iter
    trials = planned_trials(sweep, defaults) if sweep.study is None else _planned_in_arms(sweep)
    check_search(sweep)
    _check_points_fit(sweep, trials)
    data = _data_sets(sweep, base)
    scheduling.check(sweep, epochs)
    budget.check(sweep)
    if launching:
        store.check(sweep.tracking)
    warned = (*missing, *warnings(sweep, defaults, trials, epochs))
    return Plan(sweep, defaults, base, data, trials, epochs, warned, room)


def cards() -> int:
    """GPUs of this machine that torch can use."""
    import torch

    return torch.cuda.device_count()


def prepare_data(experiments: Iterable[Experiment], progress: Callable[[str, int, int], None]) -> list[str]:
    """Their data sets on this machine, built or fetched where they can be; what is in them, line by line."""
    lines = []
    for experiment in experiments:
        dataset = build_dataset(experiment)
        dataset.ensure(progress)
        for fold in trainings(experiment):  # refuses what every trial would be refused for
            train, _ = train_and_validation(fold, dataset.train())
            build_sampler(fold, train.labels, train.super_labels)
        lines += summary(dataset)
    return lines


def _check_decided(sweep: Sweep) -> None:
    written = [text.lstrip("+").partition("=")[0] for text in sweep.train]
    searched = [path for key in sweep.space for path in space.paths(key)]
    for path in (*written, *searched):
        if path in DECIDED:
            raise UserError(f"{path} is decided by {DECIDED[path]}; it cannot stand in train or space")
    for path in searched:
        if path in ("experience.max_iter", "experience.save_model"):
            raise UserError(f"space.{path}: the number of epochs is a budget, not a hyperparameter; set it in train")
        if path in written and path not in groups():  # of a group, train says what the preset is
            raise UserError(f"{path} stands in train and in space: fix it or search it")


def _check_objectives(sweep: Sweep, base: Experiment) -> None:
    measured = [f"val/{name}" for name in metric_names(base.dataset.ks, base.experience.with_AP)]
    _check_metric(sweep.objective.metric, measured, "objective.metric")
    named = [sweep.objective.metric]
    for place, tradeoff in enumerate(sweep.tradeoffs):
        _check_metric(tradeoff.metric, [*measured, *COSTS], f"tradeoffs.{place}.metric")
        if tradeoff.metric in named:
            raise UserError(f"tradeoffs.{place}.metric={tradeoff.metric!r} is an objective already")
        named.append(tradeoff.metric)


def _check_metric(metric: str, known: Sequence[str], where: str) -> None:
    if metric.startswith("test/"):
        raise UserError(f"{where}={metric!r}: a sweep never sees the test split; use 'val/{metric[5:]}'")
    if metric not in known:
        raise unknown("metric", metric, known, where=where)


def _planned_in_arms(sweep: Sweep) -> int:
    """Of a study: as many trials as asked for, or as the grid of its nuisance keys holds in all arms."""
    if sweep.search.sampler != "grid":
        return sweep.search.trials
    return min(sweep.search.trials, study.grid_trials(sweep))


def _check_points_fit(sweep: Sweep, trials: int) -> None:
    each = 1 if sweep.study is None else len(study.arms(sweep.searched, sweep.study))
    if len(sweep.search.points) * each >= trials:
        arms = f" in each of {each} arms" if each > 1 else ""
        raise UserError(
            f"search.points has {len(sweep.search.points)}{arms}: with trial 0 that is more than {trials} trials"
        )


def _data_sets(sweep: Sweep, base: Experiment) -> tuple[Experiment, ...]:
    """Composes every point that can be composed before launch; one experiment for each data set among them."""
    composed: dict[tuple[str, ...], Experiment] = {}
    for where, point in checked_points(sweep):
        overrides = tuple(space.overrides(point))
        if overrides in composed:
            continue
        try:
            composed[overrides] = compose([*sweep.fixed(), *overrides])
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    data: dict[str, Experiment] = {}
    for experiment in (base, *composed.values()):
        data.setdefault(f"{experiment.dataset.name} {sorted(experiment.dataset.kwargs.items())}", experiment)
    return tuple(data.values())


def _missing(sweep: Sweep, base: Experiment, here: bool, room: Room | None) -> tuple[str, ...]:
    """What this machine has too little of: NoRoom where the sweep is to run here, else in words."""
    if room is not None:
        _check_workers(sweep, base)
        probe.check_share(sweep.resources.gpu)
        room.check(sweep)
        return ()
    found = []
    for check in (_check_custom, _check_cores, _check_workers, _check_gpus):
        try:
            check(sweep, base)
        except probe.NoRoom as error:
            if here:
                raise
            found.append(f"it cannot be launched on this machine: {error}")
    return tuple(found)


def _check_custom(sweep: Sweep, base: Experiment) -> None:
    for name in sweep.resources.custom:
        raise probe.NoRoom(f"resources.custom.{name}: nodes of a cluster may have it, this machine alone has none")


def _check_cores(sweep: Sweep, base: Experiment) -> None:
    resources, concurrent = sweep.resources, sweep.budget.concurrent
    available = cores()
    trial = resources.cpu * resources.workers
    workers = f" with resources.workers={resources.workers}" if resources.workers > 1 else ""
    if trial * concurrent > available:
        advice = f": --set budget.concurrent={available // trial}" if trial <= available else ""
        raise probe.NoRoom(
            f"budget.concurrent={concurrent} trials of resources.cpu={resources.cpu}{workers} need "
            f"{trial * concurrent} cores, this machine has {available}{advice}"
        )


def _check_workers(sweep: Sweep, base: Experiment) -> None:
    resources = sweep.resources
    if resources.workers == 1:
        return
    if resources.gpu not in (0, 1):
        raise UserError(
            f"resources.gpu={resources.gpu:g}: with resources.workers={resources.workers} each has one whole GPU, or 0"
        )
    batch = base.dataset.sampler.kwargs.get("batch_size")
    if isinstance(batch, int) and batch < resources.workers:
        raise UserError(f"resources.workers={resources.workers} cannot share a batch of batch_size={batch} images")


def _check_gpus(sweep: Sweep, base: Experiment) -> None:
    if sweep.resources.gpu > 0:
        probe.check_shares(sweep.resources, sweep.budget.concurrent, cards())
