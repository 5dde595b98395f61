"""The journal as Ray's searcher: it says which trial is next."""

from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from trainables.errors import UserError
from tuner.asha import NUMBER
from tuner.control import Control
from tuner.desk import Desk
from tuner.journal import Trial
from tuner.search import suggest


class JournalSearcher(Searcher):
    """Gives Ray the trials that are left of those drawn, then new points; all of them journaled before they start."""

    def __init__(self, desk: Desk, control: Control) -> None:
        super().__init__()
        self._desk, self._control = desk, control

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
        left = self._control.left()
        if left is not None or len(journal.trials) >= plan.trials:
            return left
        number = len(journal.trials)
        point = plan.defaults if number == 0 else suggest(plan.sweep, number, journal.trials)
        journal.write("point", trial=number, point=point)
        return journal.trials[number]

    def _told(self, trial: Trial) -> dict[str, Any]:
        plan = self._desk.plan
        self._desk.started(trial)
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
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder tells the journal, and the journal is all that the sampler looks at."""

    def save(self, checkpoint_path: str) -> None:
        """Ray wants a file; there is no state beside the journal to put in it."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


def _newest(trial: Trial) -> str | None:
    """The latest checkpoint of the trial that is still on disk."""
    for epoch in sorted(trial.checkpoints, reverse=True):
        if Path(trial.checkpoints[epoch]).is_dir():
            return trial.checkpoints[epoch]
    return None
