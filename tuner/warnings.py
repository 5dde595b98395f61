"""What is allowed and yet worth a second look before a sweep is launched."""

from collections.abc import Iterator

import numpy as np

from trainables.composition import preset
from tuner import study
from tuner.scheduling import rungs
from tuner.schema import Study
from tuner.space import Choice, Int, Point, Space, Uniform, paths
from tuner.sweep import Sweep

DRAWS = 1000  # random points that the constraints are asked about
RARE = 0.01  # share of them below which the constraints are worth a warning
TRIALS_A_KEY = 4  # below this many trials a searched value, a sweep says little of any


def warnings(sweep: Sweep, defaults: Point, trials: int, epochs: int) -> tuple[str, ...]:
    """defaults: trial 0. epochs: of a trial that is not stopped."""
    space = sweep.searched
    return (
        *_of_presets(space, defaults),
        *_of_ties(sweep, space, defaults),
        *_of_keys(sweep, space, trials),
        *_of_constraints(space),
        *_of_scheduler(sweep, trials, epochs),
        *_of_study(sweep, space, trials),
    )


def _of_presets(space: Space, defaults: Point) -> Iterator[str]:
    for key, value in defaults.items():
        known = space.distributions[key]
        if value not in known:
            yield f"the preset {key}={value} lies outside the searched {known}"
        elif isinstance(known, Uniform | Int) and value in known.edges():
            yield f"the preset {key}={value} is at the edge of the searched {known}"
    for constraint in space.constraints:
        if not constraint.holds(defaults):
            yield f"the presets (trial 0) break the constraint {constraint.text!r}"


def _of_ties(sweep: Sweep, space: Space, defaults: Point) -> Iterator[str]:
    """Tied paths have one value in every trial; the presets may have several."""
    for key in space.searched:
        values = {path: preset(path, sweep.fixed()) for path in paths(key)} if key in defaults else {}
        if len(set(map(str, values.values()))) > 1:
            told = ", ".join(f"{path}={value}" for path, value in values.items())
            yield f"{told} are tied: trial 0 has {defaults[key]} for all, which is not the presets' training"


def _of_keys(sweep: Sweep, space: Space, trials: int) -> Iterator[str]:
    for key in space.searched:
        known = space.distributions[key]
        if isinstance(known, Choice) and len(known.values) == 1:
            yield f"{key} is a choice of one: {{constant: {known.values[0]}}} says so"
        if any(path.endswith("batch_size") for path in paths(key)):
            yield (
                f"{key} is searched: the best learning rates and the steps of an epoch change with the batch size, "
                "so that a fair comparison tunes them for each"
            )
    tuned = [list(space.searched)] if sweep.study is None else _tuned_in_arms(space, sweep.study)
    if not any(path.endswith(".lr") for keys in tuned for key in keys for path in paths(key)):
        what = "searched" if sweep.study is None else "a nuisance"
        yield f"no learning rate is {what}: the winner may only suit the preset's"
    if trials < TRIALS_A_KEY * sum(map(len, tuned)):
        beside = f" in each of {len(tuned)} arms" if len(tuned) > 1 else ""
        yield f"{trials} trials are few for {max(map(len, tuned))} searched values{beside}"


def _tuned_in_arms(space: Space, compared: Study) -> list[list[str]]:
    """Of each arm, the nuisance keys that exist beside its values."""
    return [
        [
            key
            for key in compared.nuisance
            if all(
                arm.get(other) in values for other, values in space.needed(key).items() if other in compared.scientific
            )
        ]
        for arm in study.arms(space, compared)
    ]


def _of_constraints(space: Space) -> Iterator[str]:
    if not space.constraints:
        return
    rows = np.random.default_rng(0).random((DRAWS, len(space.distributions))).tolist()
    allowed = sum(space.allows(space.at(row)) for row in rows)
    if allowed < RARE * DRAWS:
        yield f"the constraints leave {allowed} of {DRAWS} random points: narrower ranges search the same faster"


def _of_scheduler(sweep: Sweep, trials: int, epochs: int) -> Iterator[str]:
    scheduler = sweep.scheduler
    name = {"asha": "ASHA", "hyperband": "HyperBand", "median": "the median rule"}.get(scheduler.name)
    if name is not None and scheduler.grace >= epochs:
        yield f"scheduler.grace reaches the last epoch: {name} can stop nothing"
    if scheduler.name == "pbt" and scheduler.interval >= epochs:
        yield "scheduler.interval reaches the last epoch: trials exchange nothing"
    if scheduler.name in ("asha", "hyperband") and trials < scheduler.reduction:
        yield f"{trials} trials are fewer than scheduler.reduction={scheduler.reduction:g}: no rung can compare them"
    elif scheduler.name == "asha" and scheduler.brackets == 1:
        compared = rungs(sweep, epochs)
        for place, rung in enumerate(compared):
            if trials / scheduler.reduction**place < scheduler.reduction:
                yield (
                    f"fewer than scheduler.reduction={scheduler.reduction:g} of {trials} trials are expected at "
                    f"the rung of epoch {rung}: it can stop next to nothing"
                )
                return


def _of_study(sweep: Sweep, space: Space, trials: int) -> Iterator[str]:
    if sweep.study is None:
        return
    arms = study.arms(space, sweep.study)
    beside, left = divmod(trials - 1, len(arms))
    if len(arms) == 1:
        yield "the study compares one arm: nothing is compared"
    elif left:
        yield (
            f"{trials} trials give {left} of {len(arms)} arms one point more: "
            f"search.trials={1 + beside * len(arms)} or {1 + (beside + 1) * len(arms)} gives each the same"
        )
    for key in space.searched:
        others = [other for other in space.needed(key) if other in sweep.study.scientific]
        if sweep.search.sampler == "grid" and others and key in sweep.study.nuisance:
            yield f"{key} exists in some arms alone: in the others the grid repeats points that differ in it"
