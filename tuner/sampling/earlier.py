"""`search.warm_start`: what earlier sweeps found, told to the sampler as finished trials before ours.

It is copied into the journal at launch, so that a resumed sweep does not need the earlier one to be there still.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainables import bucket
from trainables.composition import compose
from trainables.errors import UserError
from tuner import mirror, places
from tuner.journal import FILE, Journal, Trial
from tuner.sampling.outcomes import inside, objectives
from tuner.sampling.units import active_part
from tuner.schema import Validation
from tuner.sweep import Sweep, load_sweep


@dataclass(frozen=True)
class Earlier:
    """What one earlier sweep gives. left_out: finished trials that today's ranges or constraints do not hold."""

    source: str
    trials: tuple[Trial, ...]
    left_out: int

    def __str__(self) -> str:
        left = f", {self.left_out} left out: outside today's space" if self.left_out else ""
        return f"warm start: {len(self.trials)} finished trials of {self.source}{left}"


def earlier_sweeps(sweep: Sweep, *, fresh: bool = False) -> list[Earlier]:
    """Those of `search.warm_start` that the sweep's journal has no copy of yet; fresh: a new journal will be begun.

    UserError in one line where one cannot be found, has nothing to tell, or measured something else.
    """
    if not sweep.search.warm_start or (not fresh and Journal.read(sweep.folder).warm):
        return []
    return [_read(sweep, written) for written in sweep.search.warm_start]


def copy_earlier(earlier: list[Earlier], journal: Journal) -> None:
    """One event; the trials get the numbers below 0."""
    if not earlier:
        return
    found = [(one.source, trial) for one in earlier for trial in one.trials]
    journal.write("warm", trials=[
        {"trial": place - len(found), "source": f"{source}: trial {trial.id}", "point": trial.point,
         "reports": {str(epoch): metrics for epoch, metrics in trial.reports.items()}}
        for place, (source, trial) in enumerate(found)
    ])  # fmt: skip


def _read(sweep: Sweep, written: str) -> Earlier:
    where = f"search.warm_start: {written}"
    folder = _folder(written)
    mirror.pull(folder)
    if not (folder / FILE).is_file():
        raise UserError(f"{where} has no {FILE}: name the folder of an earlier sweep, or its file")
    if folder == sweep.folder:
        raise UserError(f"{where} is this sweep itself")
    journal = Journal.read(folder)
    _check_alike(sweep, journal.header.get("sweep", {}), where)
    finished = [trial for trial in journal.trials.values() if trial.state == "finished"]
    usable = tuple(_copy(sweep, trial) for trial in finished if _usable(sweep, trial))
    if not usable:
        raise UserError(f"{where} has no finished trial inside this sweep's space ({len(finished)} finished)")
    return Earlier(written, usable, len(finished) - len(usable))


def _folder(written: str) -> Path:
    if bucket.is_bucket(written):
        return places.folder_at(written)
    path = Path(written).expanduser()
    return load_sweep(path).folder if path.is_file() and path.suffix in (".yaml", ".yml") else path.resolve()


def _check_alike(sweep: Sweep, before: Mapping[str, Any], where: str) -> None:
    """UserError where a value of then does not mean what a value of now does."""
    objective = before.get("objective", {})
    if objective != sweep.objective.model_dump():
        raise UserError(f"{where} has another objective: {objective.get('metric')} ({objective.get('mode')})")
    if before.get("scheduler", {}).get("name") == "pbt":
        raise UserError(f"{where} is of pbt: its trials reached their values with schedules, not with points")
    then, now = set(before.get("space", {})), set(sweep.space)
    if then != now:
        raise UserError(f"{where} searched other keys: {', '.join(sorted(then ^ now))}")
    try:
        validation = Validation.model_validate(before.get("validation", {}))
    except ValidationError:
        validation = None
    if validation != sweep.validation:
        raise UserError(f"{where} held out something else: validation {before.get('validation')}")
    try:
        data = compose(before.get("train", ())).dataset
    except UserError as error:
        raise UserError(f"{where}: its train part does not compose any more: {error}") from None
    ours = compose(sweep.train).dataset
    if (data.name, data.kwargs) != (ours.name, ours.kwargs):
        raise UserError(f"{where} is of other data: {data.name} {data.kwargs}")


def _usable(sweep: Sweep, trial: Trial) -> bool:
    space = sweep.searched
    point = active_part(space, trial.point)
    values = trial.at_best(sweep.objective.metric, sweep.objective.mode, [one.metric for one in sweep.tradeoffs])
    return point == trial.point and inside(space, point) and space.allows(point) and values is not None


def _copy(sweep: Sweep, trial: Trial) -> Trial:
    """Its point and the metrics that a sampler may ask for."""
    names = [one.metric for one in objectives(sweep)]
    reports = {
        epoch: {name: metrics[name] for name in names if name in metrics} for epoch, metrics in trial.reports.items()
    }
    return Trial(trial.number, trial.point, "finished", reports=reports)
