"""The runs of one launch in MLflow: found again, made, written, ended. In the tracker's writing thread alone.

Whatever is told twice is there once: runs are found by their tags, epochs by the steps that a run has, and a metric
of one step, time and value is one metric. So a job that failed halfway, and a whole journal, can be told again.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner import store

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

TRIAL, LAUNCH, STATE, REASON, KIND, FILES = "trial_id", "launch_id", "state", "stop_reason", "kind", "files"
PARENT, NAME = "mlflow.parentRunId", "mlflow.runName"
TRAINING_VIEW = ("mlflow.experimentKind", "custom_model_development")  # else its UI takes it for one of prompts
METRICS_A_BATCH, PARAMS_A_BATCH, TAGS_A_BATCH, PARAM_LENGTH, TAG_LENGTH = 1000, 100, 100, 6000, 5000
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "interrupted": "KILLED"}  # any other state: FAILED

Files = Mapping[str, str]  # name -> text


@dataclass(frozen=True)
class Details:
    """How a run is made, beside its parameters and tags."""

    name: str = ""
    kind: str = ""  # "": a trial's
    above: str = ""  # the trial_id of the run that it hangs below; "": the launch's own
    began: float | None = None  # unix seconds; None: now
    files: Callable[[], Files] | None = None  # asked for where they are not there yet


@dataclass(frozen=True)
class Report:
    trial_id: str
    epoch: int
    metrics: Mapping[str, float]
    at: float  # unix seconds


@dataclass
class _Run:
    run_id: str
    steps: set[int] = field(default_factory=set)  # epochs that are there, whole
    open: bool = True
    state: str = ""
    pointed: bool = False  # it has its parameters
    described: bool = False  # it has its files
    best: dict[str, float] = field(default_factory=dict)  # what it was told last: a metric is not written twice


class Scribe:
    """Raises whatever MLflow raises; each method may be called again with the same.

    kinds: the tag `kind` of the launch's run, and of those below that are given none.
    """

    def __init__(self, uri: str, experiment: str, launch_id: str, kinds: tuple[str, str]) -> None:
        self._uri, self._experiment, self._launch_id, self._kinds = uri, experiment, launch_id, kinds
        self._known_client: MlflowClient | None = None
        self._experiment_id = self._parent = ""
        self._runs: dict[str, _Run] = {}
        self._doubt = False  # a run may be there twice: a server answered too late to be heard

    def probe(self) -> None:
        """A write of no consequence."""
        self._client().set_experiment_tag(self._experiment_id, *TRAINING_VIEW)

    def open(self, tags: Mapping[str, str], files: Files, began: float | None, doubtful: bool) -> None:
        """The launch's own run, and those below it that are there. doubtful: as in `start`."""
        client = self._client()
        client.set_experiment_tag(self._experiment_id, *TRAINING_VIEW)
        given = {NAME: self._experiment, **tags, LAUNCH: self._launch_id, KIND: self._kinds[0]}
        found = self._search(f"tags.{LAUNCH} = '{self._launch_id}'")
        below = Counter(run.data.tags.get(PARENT) for run in found)
        own = [run for run in found if run.data.tags.get(KIND) == self._kinds[0]]
        if own:
            self._parent = max(own, key=lambda run: below[run.info.run_id]).info.run_id
            client.update_run(self._parent, status="RUNNING")
            self._write_tags(self._parent, given)
        else:
            self._parent = self._create(given, began)
        trials = [run for run in found if TRIAL in run.data.tags]
        for run in sorted(trials, key=lambda run: len(run.data.metrics)):  # of two the fuller one stays
            self._runs[run.data.tags[TRIAL]] = self._as_left(run)
        self._doubt |= doubtful or len(own) > 1 or len(trials) > len(self._runs)
        self._write_files(self._parent, files)

    def knows(self, trial_id: str, state: str) -> bool:
        """Whether the run has ended in that state."""
        return trial_id in self._runs and self._runs[trial_id].state == state

    def start(
        self, trial_id: str, params: Mapping[str, object], tags: Mapping[str, str], details: Details, doubtful: bool
    ) -> None:
        """doubtful: the store may have made it, and did not say so."""
        from mlflow.entities import Param

        self._doubt |= doubtful
        run = self._runs.get(trial_id)
        if run is None and doubtful:
            run = self._made(trial_id)
        given = {NAME: details.name or f"{self._kinds[1]} {trial_id}", **tags}
        if run is not None:
            self._client().update_run(run.run_id, status="RUNNING")
            self._write_tags(run.run_id, given)
        else:
            above = self._runs[details.above].run_id if details.above else self._parent
            fixed = {TRIAL: trial_id, LAUNCH: self._launch_id, PARENT: above, KIND: details.kind or self._kinds[1]}
            run = _Run(self._create({**given, **fixed}, details.began))
        self._runs[trial_id] = run
        run.open = True
        written = [Param(name(key), _clipped(str(value), PARAM_LENGTH)) for key, value in params.items()]
        for first in range(0, 0 if run.pointed else len(written), PARAMS_A_BATCH):
            self._client().log_batch(run.run_id, params=written[first : first + PARAMS_A_BATCH])
        run.pointed = True

    def describe(self, trial_id: str, files: Callable[[], Files]) -> None:
        """Its files, where they are not there: a store may take runs and no files."""
        run = self._runs[trial_id]
        if not run.described:
            told = files()
            self._write_files(run.run_id, told)
            self._write_tags(run.run_id, {FILES: " ".join(told) or "none"})
            run.described = True

    def tag(self, trial_id: str | None, tags: Mapping[str, str]) -> None:
        """trial_id: None of the launch's own run, as in `measure`."""
        self._write_tags(self._run_id(trial_id), tags)

    def write(self, reports: Sequence[Report]) -> None:
        by_trial: dict[str, list[Report]] = {}
        for report in reports:
            by_trial.setdefault(report.trial_id, []).append(report)
        for trial_id, own in by_trial.items():
            run = self._runs[trial_id]
            new = [report for report in own if report.epoch not in run.steps]
            metrics = [metric for report in new for metric in _metrics(report)]
            for first in range(0, len(metrics), METRICS_A_BATCH):
                self._client().log_batch(run.run_id, metrics=metrics[first : first + METRICS_A_BATCH])
            for report in new:
                run.steps.add(report.epoch)
                run.best |= {name(key): value for key, value in report.metrics.items() if key.startswith("best/")}

    def measure(self, metrics: Mapping[str, float], trial_id: str | None) -> None:
        """Numbers of no epoch; those that the run has are not written again."""
        from mlflow.entities import Metric

        run_id, now = self._run_id(trial_id), int(time.time() * 1000)
        known = self._client().get_run(run_id).data.metrics
        new = [Metric(name(key), value, now, 0) for key, value in metrics.items() if name(key) not in known]
        self._client().log_batch(run_id, metrics=new)

    def end(self, trial_id: str, state: str, reason: str, best: Mapping[str, float], at: float) -> None:
        """Nothing where the run has ended like this in an earlier launch."""
        run = self._runs[trial_id]
        if run.open or run.state != state:
            self._end(run, state, reason, best, at)

    def close(self, state: str, reason: str, best: Mapping[str, float], files: Files, at: float) -> None:
        """The launch's own run, and those that have not ended: they are interrupted."""
        for run in self._runs.values():
            if run.open:
                self._end(run, "interrupted", "interrupted", {}, at)
        self._end(_Run(self._parent), state, reason, best, at)
        self._write_files(self._parent, files)
        if self._doubt:
            ours = {self._parent, *(run.run_id for run in self._runs.values())}
            for found in self._search(f"tags.{LAUNCH} = '{self._launch_id}'"):
                if found.info.run_id not in ours:
                    self._client().delete_run(found.info.run_id)

    # -- one run ---------------------------------------------------------------------------------------------------

    def _create(self, tags: Mapping[str, str], began: float | None) -> str:
        start = None if began is None else int(began * 1000)
        given = {key: _clipped(value, TAG_LENGTH) for key, value in tags.items()}
        return str(self._client().create_run(self._experiment_id, start_time=start, tags=given).info.run_id)

    def _as_left(self, run: Any) -> _Run:
        """As an earlier driver left it."""
        steps = {metric.step for metric in self._client().get_metric_history(run.info.run_id, "epoch")}
        # told its state, and killed before its end was written: it has to be ended again
        state = "" if run.info.status == "RUNNING" else run.data.tags.get(STATE, "")
        best = {key: value for key, value in run.data.metrics.items() if key.startswith("best/")}
        return _Run(run.info.run_id, steps, False, state, bool(run.data.params), FILES in run.data.tags, best)

    def _made(self, trial_id: str) -> _Run | None:
        """The run that the store made and did not say so."""
        found = self._search(f"tags.{TRIAL} = '{trial_id}' and tags.{LAUNCH} = '{self._launch_id}'")
        return _Run(found[0].info.run_id) if found else None

    def _end(self, run: _Run, state: str, reason: str, best: Mapping[str, float], at: float) -> None:
        """at: unix seconds. Told twice, a metric of one time is one metric."""
        from mlflow.entities import Metric

        reached = {f"best/{name(key)}": value for key, value in best.items()}
        new = [Metric(key, value, int(at * 1000), 0) for key, value in reached.items() if run.best.get(key) != value]
        self._client().log_batch(run.run_id, metrics=new)
        self._write_tags(run.run_id, {STATE: state, REASON: reason or state})
        self._client().set_terminated(run.run_id, status=STATUS.get(state, "FAILED"), end_time=int(at * 1000))
        run.open, run.state = False, state

    def _write_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        written = [RunTag(key, _clipped(value, TAG_LENGTH)) for key, value in tags.items()]
        for first in range(0, len(written), TAGS_A_BATCH):
            self._client().log_batch(run_id, tags=written[first : first + TAGS_A_BATCH])

    def _write_files(self, run_id: str, files: Files) -> None:
        for file, text in files.items():
            self._client().log_text(run_id, text, file)

    def _run_id(self, trial_id: str | None) -> str:
        return self._parent if trial_id is None else self._runs[trial_id].run_id

    def _search(self, condition: str) -> "list[Any]":
        found: list[Any] = []
        token = None
        while True:
            page = self._client().search_runs([self._experiment_id], condition, page_token=token, max_results=500)
            found += page
            token = page.token
            if not token:
                return found

    def _client(self) -> "MlflowClient":
        if self._known_client is None:
            client, self._experiment_id = store.connect(self._uri, self._experiment)
            self._known_client = client
        return self._known_client


def _metrics(report: Report) -> "list[Metric]":
    """The epoch last: where a store has it, it has the others too."""
    from mlflow.entities import Metric

    at = int(report.at * 1000)
    values = {**report.metrics, "epoch": float(report.epoch)}
    return [Metric(name(key), value, at, report.epoch) for key, value in values.items() if not math.isinf(value)]


def name(key: str) -> str:
    """A key as MLflow allows it: letters, digits, _ - . / : and space."""
    return re.sub(r"[^\w\-./: ]", "_", key)


def _clipped(value: str, length: int) -> str:
    return value if len(value) <= length else value[: length - 4] + " ..."
