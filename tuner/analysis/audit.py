"""Did the scheduler stop a winner? A few stopped trials are run to their end, beside the sweep.

Each goes on from its newest checkpoint where there still is one, else from the start. With the same code on the same
machine an experiment trains to the same bits either way: what comes out is what the sweep would have seen. The sweep's
own journal is only read. An audit has one in the same format, in `audit/` below the sweep's folder, and goes on from it
when it was interrupted.
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainables import bucket
from trainables.errors import UserError, first_line, out_of_memory
from tuner import mirror
from tuner.analysis.noise import Noise
from tuner.journal import FILE, Journal, Trial
from tuner.results import Results

if TYPE_CHECKING:
    from trainables.experiment import Experiment
    from trainables.folded import FoldedTraining
    from trainables.training import Training

FOLDER = "audit"
CHECKPOINT = "training.ckpt"
Progress = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True)
class Audited:
    """One stopped trial. stopped_best, stopped_at: what the sweep saw of it; best: to its end, None where it has none.

    state: finished, infeasible, or running where the audit was interrupted. drift: by how much epochs that were run
    twice differ, 0 unless code or machine have changed since.
    """

    trial: int
    stopped_at: int
    stopped_best: float
    state: str
    epochs: int
    best: float | None
    winner: bool  # better than the sweep's best
    drift: float


@dataclass(frozen=True)
class Audit:
    """trials: the audited ones. stopped: how many the sweep has. verdict: one sentence."""

    trials: tuple[Audited, ...]
    stopped: int
    verdict: str


def chosen(results: Results, count: int) -> list[Trial]:
    """Half of them the best of the stopped trials by their last value, the rest at random by the sweep's seed."""
    metric, mode = results.sweep.objective.metric, results.sweep.objective.mode
    sign = 1.0 if mode == "max" else -1.0
    stopped = {
        trial.number: sign * list(scores.values())[-1]
        for trial in results.trials
        if trial.state == "stopped" and (scores := trial.scores(metric))
    }
    ranked = sorted(stopped, key=lambda number: (-stopped[number], number))
    best, rest = ranked[: math.ceil(count / 2)], sorted(ranked[math.ceil(count / 2) :])
    drawn = np.random.default_rng([results.sweep.search.seed, len(results.trials)]).permutation(rest)
    wanted = {*best, *(int(number) for number in drawn[: count - len(best)])}
    return [trial for trial in results.ranked if trial.number in wanted]


def run(
    results: Results,
    count: int,
    progress: Progress = lambda what, done, total: None,
    say: Callable[[str], None] = print,
) -> None:
    """Runs what the audit's journal has not ended yet. UserError where no trial of the sweep was stopped.

    say: for a line, where the sweep is in S3 and that is away.
    """
    trials = chosen(results, count)
    if not trials:
        raise UserError(f"no trial of sweep {results.sweep.name!r} was stopped: there is nothing to audit")
    mirror.pull(results.sweep.folder)  # this may be another machine than the one that was asked
    journal = Journal(results.sweep.folder / FOLDER)
    journal.open()
    try:
        with mirror.kept(results.sweep.folder, say):
            for trial in trials:
                if trial.number not in journal.trials:
                    journal.write("point", trial=trial.number, point=trial.point)
                if not journal.trials[trial.number].ended:
                    _run_one(journal, trial, _experiment(results, trial), progress)
    finally:
        journal.close()


def standing(results: Results) -> list[tuple[str, int, int]]:
    """What a `Progress` would be told now of the trial that is being run, here or on another machine."""
    found = []
    mirror.pull(results.sweep.folder)
    for trial in Journal.read(results.sweep.folder / FOLDER).trials.values():
        if trial.reports and not trial.ended:
            found.append((f"trial {trial.id}", max(trial.reports), _experiment(results, trial).experience.max_iter))
    return found


def _experiment(results: Results, trial: Trial) -> "Experiment":
    from trainables.composition import compose
    from tuner import space

    return compose([*results.sweep.fixed(), *space.overrides(trial.point)])


def read(results: Results, noise: Noise) -> Audit | None:
    """What the audits of the sweep have found so far; None where there was none."""
    mirror.pull(results.sweep.folder)
    folder = results.sweep.folder / FOLDER
    if not (folder / FILE).is_file():
        return None
    own = {trial.number: trial for trial in results.trials}
    records = Journal.read(folder).trials
    trials = tuple(_audited(results, own[number], records[number]) for number in sorted(records) if number in own)
    stopped = sum(trial.state == "stopped" for trial in results.trials)
    return Audit(trials, stopped, _verdict(results, trials, noise))


def _run_one(journal: Journal, trial: Trial, experiment: "Experiment", progress: Progress) -> None:
    from trainables.folded import training_of
    from trainables.steps import Diverged

    training = training_of(experiment)
    own = journal.folder / f"trial-{trial.id}"
    try:
        _go_on(training, own, trial)
        while not training.done:
            report = training.epoch()
            journal.write("report", trial=trial.number, epoch=report.epoch, metrics=report.metrics)
            training.save(own / CHECKPOINT)
            progress(f"trial {trial.id}", report.epoch, experiment.experience.max_iter)
        journal.write("end", trial=trial.number, state="finished", reason="")
    except Diverged as error:
        journal.write("end", trial=trial.number, state="infeasible", reason=f"diverged: {error}")
    except Exception as error:
        if not out_of_memory(error):
            raise
        journal.write("end", trial=trial.number, state="infeasible", reason=f"out of memory: {first_line(error)}")
    finally:
        training.close()
    shutil.rmtree(own, ignore_errors=True)


def _go_on(training: "Training | FoldedTraining", own: Path, trial: Trial) -> None:
    """From the audit's own checkpoint, else from the sweep's newest one that is still there."""
    theirs = [trial.checkpoints[epoch] for epoch in sorted(trial.checkpoints, reverse=True)]
    begun = [str(own)] if (own / CHECKPOINT).is_file() or any(own.glob("*.ckpt")) else []
    start = next((place for place in (*begun, *theirs) if bucket.exists(place)), None)
    if start is not None:
        with bucket.local(start) as folder:
            training.load(folder / CHECKPOINT)


def _audited(results: Results, trial: Trial, record: Trial) -> Audited:
    """Epochs before the checkpoint that the audit began at are the sweep's."""
    objective, best = results.sweep.objective, results.best
    whole = Trial(trial.number, trial.point, reports={**trial.reports, **record.reports})
    value = results.value(whole) if record.state != "infeasible" else math.nan
    sign = 1.0 if objective.mode == "max" else -1.0
    winner = best is not None and math.isfinite(value) and sign * value > sign * results.value(best)
    return Audited(
        trial.number,
        max(trial.reports),
        results.value(trial),
        record.state,
        max(whole.reports),
        value if math.isfinite(value) else None,
        winner,
        _drift(trial.scores(objective.metric), record.scores(objective.metric)),
    )


def _drift(one: dict[int, float], other: dict[int, float]) -> float:
    return max((abs(one[epoch] - other[epoch]) for epoch in one.keys() & other.keys()), default=0.0)


def _verdict(results: Results, trials: tuple[Audited, ...], noise: Noise) -> str:
    ended = [one for one in trials if one.state != "running" and one.best is not None]
    best = results.best
    if best is None or not ended:
        return "no stopped trial has been run to its end yet"
    top = results.value(best)
    sign = 1.0 if results.sweep.objective.mode == "max" else -1.0
    nearest = max(ended, key=lambda one: sign * (one.best or 0.0))
    assert nearest.best is not None
    told = f"trial {nearest.trial:04d} comes to {nearest.best:.4f}, the sweep's best is {top:.4f}"
    winners = [one for one in ended if one.winner]
    if not winners:
        bound = 0.0 if noise.difference is None else noise.difference
        near = sum(one.best is not None and abs(one.best - top) <= bound for one in ended)
        within = f"; {near} within the noise of {bound:.4f}" if near else ""
        return f"of {len(ended)} stopped trials run to their end none passes the best: {told}{within}"
    if noise.difference is not None and abs(nearest.best - top) <= noise.difference:
        return f"a stopped trial passes the best by no more than the noise of {noise.difference:.4f}: {told}"
    return f"the scheduler stopped a winner ({len(winners)} of {len(ended)}): {told}"
