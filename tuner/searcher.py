"""The journal as Ray's searcher: it says which trial is next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from trainables.errors import UserError
from tuner import lineage, study
from tuner.control import Control
from tuner.desk import Desk
from tuner.journal import Trial
from tuner.lineage import Start
from tuner.placement import AVOIDED, CROWDED
from tuner.sampling import Draw, suggest
from tuner.scheduling import Rule
from tuner.scheduling.tune import NUMBER
from tuner.sweep import Sweep


class JournalSearcher(Searcher):
    """Gives Ray the trials that are left of those drawn, then new points; all of them journaled before they start."""

    def __init__(self, desk: Desk, rule: Rule, control: Control) -> None:
        super().__init__()
        self._desk, self._rule, self._control = desk, rule, control

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        if self._control.idle:
            self._control.act()  # Ray asks again and again, and ends no step meanwhile
        if self._control.done:
            return Searcher.FINISHED
        trial = self._next() if self._control.may_start() else None
        if trial is None:
            return None
        self._control.given(trial.number)
        return self._told(trial)

    def _next(self) -> Trial | None:
        plan, journal = self._desk.plan, self._desk.journal
        left = self._control.left(self._rule.paused | self._without_start())
        if left is not None and left.number in self._rule.resumable:
            self._rule.resumable.remove(left.number)
        if left is not None or len(journal.trials) >= plan.trials:
            return left
        number = len(journal.trials)
        known = {**journal.warm, **journal.trials}
        draw = Draw(plan.defaults) if number == 0 else _drawn(plan.sweep, number, known)
        journal.write("point", trial=number, point=draw.point, **({"note": draw.note} if draw.note else {}))
        return journal.trials[number]

    def _without_start(self) -> set[int]:
        """Trials that are to copy a checkpoint that is not written yet; where it never will be, they are lost."""
        trials, found = self._desk.journal.trials, set()
        for trial in list(trials.values()):
            if trial.ended or not trial.schedule or lineage.start_of(trial, trials) is not None:
                continue
            found.add(trial.number)
            copied = trial.schedule[-1]
            if trials[copied.donor].ended:
                reason = f"the checkpoint of trial {copied.donor:04d} at epoch {copied.epoch}, to be copied, is gone"
                self._desk.ended(trial.number, "lost", reason)
                self._rule.ended(trial.number)
        return found

    def _told(self, trial: Trial) -> dict[str, Any]:
        plan = self._desk.plan
        start = lineage.start_of(trial, self._desk.journal.trials) or Start(None, False)
        point = trial.schedule[-1].point if trial.schedule else trial.point
        experiment = refused = None
        try:
            experiment = plan.experiment(point).model_dump_json()
        except UserError as error:
            refused = str(error)  # values that do not fit together: the trial says so in its first result
        self._desk.started(trial, None if trial.schedule else experiment)
        return {
            NUMBER: trial.number,
            "experiment": experiment,
            "refused": refused,
            "resume_from": start.folder,
            "scheduled": start.changes,
            "workers": plan.sweep.resources.workers,
            AVOIDED: sorted(self._control.avoided),
            CROWDED: trial.crowded,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder tells the journal, and the journal is all that the sampler looks at."""

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
