"""The journal as Ray's searcher: it says which trial is next."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.search import Searcher

from trainables.errors import UserError
from tuner import study
from tuner.desk import Desk
from tuner.journal import Trial
from tuner.sampling import Draw, suggest
from tuner.scheduling import Rule
from tuner.scheduling.tune import NUMBER
from tuner.sweep import Sweep

PART = "part"


def folder_name(trial: RayTrial) -> str:
    """Of the trial's checkpoints in this launch; a part does not write over those of an earlier one."""
    part = trial.config[PART]
    return f"trial-{trial.config[NUMBER]:04d}" + (f"-part-{part}" if part > 1 else "")


class JournalSearcher(Searcher):
    """Gives Ray the trials that an earlier launch left, those that the rule had paused and lets go on, then new points.

    All of them are journaled before they start. A trial that goes on is another one to Ray: `part` counts them.
    """

    def __init__(self, desk: Desk, rule: Rule) -> None:
        super().__init__()
        self._desk, self._rule = desk, rule
        paused = {*rule.paused, *rule.resumable}
        self._left = [t for t in desk.journal.trials.values() if not t.ended and t.number not in paused]
        self._running: dict[str, int] = {}  # Ray's trial id -> ours
        self._parts: Counter[int] = Counter()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        trial = self._next()
        if trial is None:
            waits = bool(self._rule.paused or self._rule.resumable) and bool(self._running)
            return None if waits else Searcher.FINISHED
        self._running[trial_id] = trial.number
        self._parts[trial.number] += 1
        self._desk.started(trial)
        return self._config(trial)

    def _next(self) -> Trial | None:
        plan, journal = self._desk.plan, self._desk.journal
        if self._left:
            return self._left.pop(0)
        for number in self._rule.resumable:
            if number not in self._running.values():  # its last checkpoint is written
                self._rule.resumable.remove(number)
                return journal.trials[number]
        if len(journal.trials) < plan.trials:
            number = len(journal.trials)
            known = {**journal.warm, **journal.trials}
            draw = Draw(plan.defaults) if number == 0 else _drawn(plan.sweep, number, known)
            note = {"note": draw.note} if draw.note else {}
            journal.write("point", trial=number, point=draw.point, **note)
            return journal.trials[number]
        return None

    def _config(self, trial: Trial) -> dict[str, Any]:
        """What RetrievalTrainable is told."""
        plan = self._desk.plan
        experiment = refused = None
        try:
            experiment = plan.experiment(trial.point).model_dump_json()
        except UserError as error:
            refused = str(error)  # values that do not fit together: the trial says so in its first result
        return {
            NUMBER: trial.number,
            "experiment": experiment,
            "refused": refused,
            "resume_from": _newest(trial),
            "workers": plan.sweep.resources.workers,
            PART: self._parts[trial.number],
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The slot is free; the recorder tells the journal, and the journal is all that the sampler looks at."""
        self._running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Ray wants a file; there is no state beside the journal to put in it."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


def _drawn(sweep: Sweep, number: int, trials: Mapping[int, Trial]) -> Draw:
    """The sampler's draw; in a study the sampler draws the nuisance keys alone, from an index that all arms share."""
    if sweep.study is None:
        return suggest(sweep, number, trials)
    part = study.nuisance(sweep)
    return Draw(study.point(sweep, number, lambda index: suggest(part, index + 1, {}).point))


def _newest(trial: Trial) -> str | None:
    """The latest checkpoint of the trial that is still on disk."""
    for epoch in sorted(trial.checkpoints, reverse=True):
        if Path(trial.checkpoints[epoch]).is_dir():
            return trial.checkpoints[epoch]
    return None
