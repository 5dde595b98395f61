"""What a sampler is told of the trials before: each as what it is, whatever library listens.

finished     its value: the objective's best epoch, and every trade-off at that epoch
stopped      by the scheduler: worse than what finished; an early value never passes for a final one
infeasible   worse than what was stopped
running      drawn, not judged yet: counted as poor by whoever can, so that parallel points spread
failed, lost not told: a bug or a machine says nothing of the point. Nor is a value that is not a number, nor a point
             outside today's ranges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuner.journal import Trial
from tuner.sampling.question import Question
from tuner.sampling.units import active_part
from tuner.schema import Objective
from tuner.space import Point, Space
from tuner.sweep import Sweep

Kind = Literal["finished", "stopped", "infeasible", "running"]
KINDS: dict[str, Kind] = {
    "finished": "finished",
    "stopped": "stopped",
    "infeasible": "infeasible",
    "pending": "running",
    "running": "running",
}


@dataclass(frozen=True)
class Outcome:
    """values: one an objective, of a finished trial alone. scores: epoch -> the first objective."""

    trial: Trial
    kind: Kind
    point: Point
    values: tuple[float, ...]
    scores: dict[int, float]


def objectives(sweep: Sweep) -> tuple[Objective, ...]:
    """The objective first, then what it is weighed against."""
    return (sweep.objective, *sweep.tradeoffs)


def outcomes(question: Question) -> list[Outcome]:
    """Of every trial that there is something to learn from, in the order of their numbers."""
    found = (outcome(question, trial) for trial in question.trials.values())
    return [known for known in found if known is not None]


def outcome(question: Question, trial: Trial) -> Outcome | None:
    sweep, space = question.sweep, question.space
    kind = KINDS.get(trial.state)
    point = active_part(space, trial.point)
    if kind is None or not inside(space, point):
        return None
    values = trial.at_best(sweep.objective.metric, sweep.objective.mode, [more.metric for more in sweep.tradeoffs])
    if kind == "finished" and values is None:
        return None
    scores = {} if kind == "infeasible" else trial.scores(sweep.objective.metric)
    return Outcome(trial, kind, point, (values or ()) if kind == "finished" else (), scores)


def inside(space: Space, point: Point) -> bool:
    """Whether the point is whole and could have been drawn."""
    return all(
        key in point and point[key] in distribution
        for key, distribution in space.distributions.items()
        if space.active(key, point)
    )


def completed(sweep: Sweep, known: Sequence[Outcome]) -> list[tuple[Outcome, tuple[float, ...]]]:
    """For models that know finished trials only: those that were stopped or infeasible get the worst finished values.

    The worst that was measured, and nothing beyond: an invented outlier would bend a model's scale. Empty while
    nothing has finished.
    """
    finished = [one.values for one in known if one.kind == "finished"]
    if not finished:
        return []
    worst = tuple(
        min(column) if objective.mode == "max" else max(column)
        for objective, column in zip(objectives(sweep), zip(*finished, strict=True), strict=True)
    )
    return [(one, one.values or worst) for one in known if one.kind != "running"]


def ranks(sweep: Sweep, known: Sequence[Outcome]) -> dict[int, int]:
    """Trial number -> place, 0 the best: finished by value, then stopped by how far they came, then infeasible."""
    sign = -1.0 if sweep.objective.mode == "max" else 1.0

    def order(one: Outcome) -> tuple[int, float, float, int]:
        if one.kind == "finished":
            return (0, 0.0, sign * one.values[0], one.trial.number)
        if one.kind == "stopped" and one.scores:
            return (1, -max(one.scores), min(sign * score for score in one.scores.values()), one.trial.number)
        return (2, 0.0, 0.0, one.trial.number)

    judged = sorted((one for one in known if one.kind != "running"), key=order)
    return {one.trial.number: place for place, one in enumerate(judged)}
