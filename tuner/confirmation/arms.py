"""What is confirmed: which points, for how many epochs, from which seeds; and the experiment of each training."""

from collections.abc import Iterable

from trainables.errors import UserError
from tuner import space
from tuner.confirmation.ledger import Arm, Repeat
from tuner.journal import Trial
from tuner.results import Results
from tuner.sweep import Sweep

SEED = "experience.seed"


def chosen(results: Results, count: int) -> list[Arm]:
    """The defaults (trial 0) and the best `count` other trials; UserError where there is nothing to confirm."""
    best = results.best
    if best is None:
        raise UserError(f"no trial of sweep {results.sweep.name!r} has a value: there is no winner to confirm")
    if best.number == 0:
        raise UserError(
            f"the presets' own point (trial 0000) won sweep {results.sweep.name!r}: there is no other winner to confirm"
        )
    defaults = next(trial for trial in results.trials if trial.number == 0)
    if _best_epoch(results, defaults) is None:
        raise UserError(
            f"the presets' point (trial 0000, {defaults.state}) has no value in sweep {results.sweep.name!r}: "
            "there is nothing to compare the winner with"
        )
    others = [trial for trial in results.ranked if trial.number != 0 and _best_epoch(results, trial) is not None]
    if count > len(others):
        raise UserError(f"arms={count}: {len(others)} trials beside the presets' have a value")
    return [
        _arm("defaults", results, defaults),
        *(_arm(_role(results, trial), results, trial) for trial in others[:count]),
    ]


def fresh_seeds(count: int, used: Iterable[int]) -> list[int]:
    """The next `count` seeds after all those used."""
    first = max(used) + 1
    return list(range(first, first + count))


def seeds_of(sweep: Sweep, trials: Iterable[Trial], preset: int) -> set[int]:
    """Every experience.seed that the sweep trained from. preset: where it searches none."""
    keys = [key for key in sweep.space if SEED in space.paths(key)]
    return {preset, *(int(trial.point[key]) for trial in trials for key in keys if key in trial.point)}


def overrides(sweep: Sweep, repeat: Repeat) -> list[str]:
    """The training on the full train split: nothing is held out, the number of epochs is known, no test on the way."""
    return [
        *sweep.train,
        *space.overrides(repeat.arm.point),
        f"{SEED}={repeat.seed}",
        f"experience.max_iter={repeat.arm.epochs}",
        "experience.test_eval_freq=-1",
        f"experience.num_threads={sweep.resources.cpu}",
        f"experience.experiment_name={sweep.name}-confirm-{repeat.key}",
    ]


def _arm(role: str, results: Results, trial: Trial) -> Arm:
    epochs = _best_epoch(results, trial)
    assert epochs is not None, "looked at before"
    return Arm(role, trial.number, trial.point, epochs)


def _role(results: Results, trial: Trial) -> str:
    place = results.place(trial.number)
    return "winner" if place == 1 else f"trial in place {place}"


def _best_epoch(results: Results, trial: Trial) -> int | None:
    metrics = results.best_metrics(trial)
    return int(metrics["epoch"]) if metrics else None
