"""What a sweep's runs hold in MLflow: names, tags, parameters, metrics and files, from the plan and the journal alone.

A trial of folds has a run for each of them below its own, "0007/fold1", with that fold's metrics by epoch.
"""

import json
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from trainables.errors import UserError
from tuner import naming, provenance
from tuner.journal import Journal, Trial
from tuner.plan import Plan
from tuner.results import Results, judged
from tuner.space import Point, is_number
from tuner.tracking import NAME, Details

FOLD = "folds/"  # how a report begins what one fold has
NOTE = "mlflow.note.content"
COMMAND = "roadmap-tune run sweep.yaml"
AGAIN = f"All of it again, with this run's file `sweep.yaml`: `{COMMAND}`"
THROUGHPUT = "throughput/images_per_s"
Metrics = dict[str, float]


@dataclass(frozen=True)
class Entry:
    """One run below the launch's own."""

    key: str  # its tag trial_id
    params: Point
    tags: dict[str, str]
    details: Details
    best: Metrics  # at the trial's best epoch


class Entries:
    """The runs of one sweep, as the journal has it when they are asked for."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.plan, self.journal = plan, journal
        self._results = Results(plan.sweep, ())
        self._labels = naming.labels(plan.sweep.space)

    # -- the launch ------------------------------------------------------------------------------------------------

    def launch_tags(self) -> dict[str, str]:
        sweep = self.plan.sweep
        objective = sweep.objective
        return {
            **self._shared(len(self.journal.launches) - 1),
            NAME: f"{sweep.name} {sweep.search.sampler} {sweep.scheduler.name}",
            "goal": sweep.goal,
            "objective": f"{objective.mode} {objective.metric}",
            "sampler": sweep.search.sampler,
            "scheduler": sweep.scheduler.name,
            "validation": str(sweep.validation),
            "command": COMMAND,
            NOTE: f"{sweep.goal}\n\n{AGAIN}",
        }

    def note(self, results: Results) -> str:
        """What the launch's page says on top, once there are results."""
        best, metric = results.best, self.plan.sweep.objective.metric
        if best is None:
            return f"{self.plan.sweep.goal}\n\nNo trial has a value yet. {AGAIN}"
        found = f"best {metric} **{results.told(best)}** (trial {best.id})"
        presets = [
            f", the presets' {results.told(trial)}" for trial in results.trials if trial.number == 0 != best.number
        ]
        repeat = f"The best trial alone:\n\n{_block(results.command(best))}"
        return f"{self.plan.sweep.goal}: {found}{''.join(presets)}\n\n{repeat}\n\n{AGAIN}"

    def launch_files(self) -> dict[str, str]:
        """The sweep with every default, and as it was written: what a file may not name unused is left out there."""
        sweep = self.plan.sweep
        written = sweep.model_dump(mode="json", exclude_unset=True)
        return {
            "sweep.json": sweep.model_dump_json(indent=2),
            "sweep.yaml": yaml.safe_dump(written, sort_keys=False, allow_unicode=True),
        }

    # -- a trial ---------------------------------------------------------------------------------------------------

    def of(self, trial: Trial, live: bool = False, experiment: str | None = None) -> list[Entry]:
        """The trial's run, then its folds'. live: the newest launch has it now. experiment: its JSON, if known."""
        launch = len(self.journal.launches) - 1 if live else trial.launch
        shared = {**self._shared(launch), **trial.place}
        start = f"{trial.id} presets" if trial.number == 0 else trial.id
        details = Details(
            naming.title(start, trial.point, self._labels), began=trial.drawn_at, files=self._files(trial, experiment)
        )
        best = self._results.best_metrics(trial)
        command = self._results.command(trial)
        tags = {**shared, "command": command, NOTE: f"Again:\n\n{_block(command)}"}
        found = [Entry(trial.id, trial.point, tags, details, best)]
        for fold in self._folds:
            tags = {**shared, "fold": str(fold), "command": self._results.command(trial, fold=fold)}
            # MLflow's table is ordered by the time, to the millisecond
            details = Details(f"{trial.id} fold {fold}", "fold", trial.id, trial.drawn_at + 0.001 * (fold + 1))
            epoch = best.get("epoch")
            own = {} if epoch is None else {"epoch": epoch, **judged(_of_fold(trial.reports[int(epoch)], fold))}
            found.append(Entry(f"{trial.id}/fold{fold}", {}, tags, details, own))
        return found

    def keys(self, trial: Trial) -> list[str]:
        """The trial_id of each."""
        return [trial.id, *(f"{trial.id}/fold{fold}" for fold in self._folds)]

    def metrics(self, trial: Trial, epoch: int) -> dict[str, Metrics]:
        """trial_id -> what its run gets of the epoch."""
        sweep, told = self.plan.sweep, trial.reports[epoch]
        metric = sweep.objective.metric
        # the metric that is written first is the one that MLflow's compare page opens with
        own = {metric: told[metric]} if metric in told else {}
        first = epoch == min(trial.reports)
        own |= {key: value for key, value in told.items() if not _is_folds(key) and (first or not _is_constant(key))}
        if told.get("time/train_s") and "train/images" in told:
            own[THROUGHPUT] = told["train/images"] / told["time/train_s"]
        if first:
            own |= _logarithms(self.plan, trial)
        if sweep.scheduler.name == "pbt":
            own |= _settings(trial, epoch)
        improved = _improved(trial, epoch, metric, sweep.objective.mode)
        found = {trial.id: {**own, **_best(own, epoch, improved)}}
        for fold in self._folds:
            of_fold = _of_fold(told, fold)
            found[f"{trial.id}/fold{fold}"] = {**of_fold, **_best(of_fold, epoch, improved)}
        return found

    # --------------------------------------------------------------------------------------------------------------

    def _shared(self, launch: int) -> dict[str, str]:
        """Of all runs of one launch."""
        launches = self.journal.launches
        about = launches[launch].about if -len(launches) <= launch < len(launches) else {}
        return {"sweep": self.plan.sweep.name, **provenance.of_data(self.journal.header), **about}

    def _files(self, trial: Trial, experiment: str | None) -> Callable[[], dict[str, str]]:
        def files() -> dict[str, str]:
            try:
                text = experiment or self.plan.experiment(trial.point).model_dump_json()
            except UserError:
                return {}  # its values do not fit together
            return {"experiment.yaml": flat(json.loads(text))}

        return files

    @property
    def _folds(self) -> range:
        validation = self.plan.sweep.validation
        return range(validation.folds if validation.protocol == "kfold" else 0)


def flat(values: dict[str, Any]) -> str:
    """An Experiment as YAML, one line a setting, by its path: `loss.1.kwargs.tau: 0.0124`."""
    return "".join(f"{path}: {json.dumps(value, ensure_ascii=False)}\n" for path, value in _leaves(values, ""))


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict | list) or not value:
        return [(path, value)]
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    return [leaf for key, child in inside for leaf in _leaves(child, f"{path}.{key}" if path else str(key))]


def _block(command: str) -> str:
    """As Markdown. MLflow's page becomes as wide as the widest line of a block."""
    lines = textwrap.wrap(command, 76, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["```", " \\\n    ".join(lines), "```"])


def _is_folds(key: str) -> bool:
    return key.startswith(FOLD) and key.removeprefix(FOLD).partition("/")[0].isdigit()


def _is_constant(key: str) -> bool:
    """Of one trial: told once."""
    return key.startswith(("model/", "val/num_"))


def _of_fold(told: Metrics, fold: int) -> Metrics:
    """Under the names that a training of that fold alone gives them."""
    start = f"{FOLD}{fold}/"
    own = {key.removeprefix(start): value for key, value in told.items() if key.startswith(start)}
    return {key if key.startswith("train/") else f"val/{key}": value for key, value in own.items()}


def _best(metrics: Metrics, epoch: int, improved: bool) -> Metrics:
    return {f"best/{key}": value for key, value in {**judged(metrics), "epoch": float(epoch)}.items() if improved}


def _improved(trial: Trial, epoch: int, metric: str, mode: str) -> bool:
    """Whether the objective is better than in every epoch before."""
    scores = trial.scores(metric)
    sign = 1.0 if mode == "max" else -1.0
    return epoch in scores and all(sign * scores[epoch] > sign * scores[other] for other in scores if other < epoch)


def _settings(trial: Trial, epoch: int) -> Metrics:
    """The numbers that the epoch was trained with: they change, and MLflow's parameters cannot."""
    return {f"pbt/{key}": float(value) for key, value in trial.point_at(epoch).items() if is_number(value)}


def _logarithms(plan: Plan, trial: Trial) -> Metrics:
    """log10 of what is searched on a log scale: MLflow's axes are linear."""
    return {
        f"log10/{key}": math.log10(trial.point[key])  # type: ignore[arg-type]
        for key, distribution in plan.sweep.distributions.items()
        if getattr(distribution, "log", False) and key in trial.point
    }
