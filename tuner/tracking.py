"""Every trial in MLflow: what is written there, and by whom.

One parent run a launch, one child run a trial. The sweep puts what happened into a queue and goes on; a thread of
its own writes. MLflow being slow, down or full never stops a sweep: what it does not take waits, in order, and what it
refuses is counted and said. The journal has all of it: the next launch, or `roadmap-tune track`, writes what is left.
MLflow is imported in that thread: it takes seconds, and no trial ever needs it.
"""

import logging
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner import secrets, store
from tuner.writer import TrackingSummary, Writer

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

log = logging.getLogger("tuner.tracking")

TRIAL, LAUNCH, STATE, REASON = "trial_id", "launch_id", "state", "stop_reason"
PARENT, NAME = "mlflow.parentRunId", "mlflow.runName"
METRICS_A_BATCH, PARAMS_A_BATCH, TAGS_A_BATCH, PARAM_LENGTH = 1000, 100, 100, 6000
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "interrupted": "KILLED"}  # any other state: FAILED


@dataclass
class _Run:
    run_id: str
    last_step: int = -1
    open: bool = True
    state: str = ""
    described: bool = False  # it has its parameters
    best: dict[str, float] = field(default_factory=dict)  # what an earlier launch told: a metric is not written twice


@dataclass(frozen=True)
class _Report:
    trial_id: str
    epoch: int
    metrics: dict[str, float]
    at: float


@dataclass
class _State:
    """What the writing thread knows; nobody else touches it."""

    client: "MlflowClient | None" = None
    experiment_id: str = ""
    parent: str = ""
    runs: dict[str, _Run] = field(default_factory=dict)


class Tracker:
    """Writes one launch of a sweep. Every method returns at once but `close`; none raises what MLflow raises.

    kinds: the tag `kind` of the parent run and of its children.
    """

    def __init__(self, uri: str, experiment: str, launch_id: str, kinds: tuple[str, str] = ("sweep", "trial")) -> None:
        self._uri, self._experiment, self._launch_id, self._kinds = uri, experiment, launch_id, kinds
        self._state = _State()
        self._writer: Writer[_Report] = Writer(self._write_reports, self._takes_writes, self._tell)

    def open(self, tags: Mapping[str, str], artifacts: Mapping[str, str]) -> None:
        """The parent run: found by its launch id on resume, else made."""
        self._writer.start()
        self._writer.do(lambda: self._open(dict(tags), dict(artifacts)))

    def start_trial(self, trial_id: str, params: Mapping[str, object], tags: Mapping[str, str]) -> None:
        """The child run: found by its trial id on resume, else made."""
        self._writer.do(lambda: self._start_trial(trial_id, dict(params), dict(tags)))

    def settle_trial(
        self,
        trial_id: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        state: str,
        reason: str,
        best: Mapping[str, float],
    ) -> None:
        """A trial that ended before this launch: made and ended where MLflow does not know so yet."""
        point, told, reached, at = dict(params), dict(tags), dict(best), time.time()

        def settle() -> None:
            known = self._state.runs.get(trial_id)
            if known is None or known.state != state:
                self._start_trial(trial_id, point, told)
                self._end_trial(trial_id, state, reason, reached, at)

        self._writer.do(settle)

    def report(self, trial_id: str, epoch: int, metrics: Mapping[str, float], at: float) -> None:
        """One epoch's metrics at unix time `at`; a step that the run has already is not written twice."""
        self._writer.add(_Report(trial_id, epoch, dict(metrics), at))

    def measure(self, metrics: Mapping[str, float], trial_id: str | None = None) -> None:
        """Numbers of no epoch, of a trial or (None) of the parent run; those that the run has are not written again."""
        measured = dict(metrics)
        self._writer.do(lambda: self._measure(measured, trial_id))

    def end_trial(self, trial_id: str, state: str, reason: str, best: Mapping[str, float]) -> None:
        at = time.time()
        self._writer.do(lambda: self._end_trial(trial_id, state, reason, dict(best), at))

    def close(
        self,
        state: str,
        best: Mapping[str, float],
        artifacts: Mapping[str, str],
        timeout_s: float,
        reason: str = "",
    ) -> TrackingSummary:
        """Writes what waits, for at most `timeout_s`; runs that have not ended are closed as interrupted."""
        at = time.time()
        self._writer.do(lambda: self._close(state, reason, dict(best), dict(artifacts), at))
        return self._writer.close(timeout_s)

    # -- in the writing thread ------------------------------------------------------------------------------------

    def _tell(self, text: str) -> None:
        log.warning("MLflow at %s: %s; the sweep goes on", secrets.safe(self._uri), text)

    def _takes_writes(self) -> bool:
        try:
            self._client().set_experiment_tag(self._state.experiment_id, "kind", "sweep")
        except Exception:
            return False
        return True

    def _open(self, tags: dict[str, str], artifacts: dict[str, str]) -> None:
        client = self._client()
        found = self._search(f"tags.{LAUNCH} = '{self._launch_id}' and tags.kind = '{self._kinds[0]}'")
        if found:
            self._state.parent = found[0].info.run_id
            client.update_run(self._state.parent, status="RUNNING")
        else:
            given = {NAME: self._experiment, **tags, LAUNCH: self._launch_id, "kind": self._kinds[0]}
            self._state.parent = client.create_run(self._state.experiment_id, tags=given).info.run_id
        for run in self._search(f"tags.`{PARENT}` = '{self._state.parent}'"):
            steps = client.get_metric_history(run.info.run_id, "epoch")
            last = max((metric.step for metric in steps), default=-1)
            # told its state, and killed before its end was written: it has to be ended again
            state = "" if run.info.status == "RUNNING" else run.data.tags.get(STATE, "")
            best = {key: value for key, value in run.data.metrics.items() if key.startswith("best/")}
            described = bool(run.data.params)  # a driver may have been killed in between
            self._state.runs[run.data.tags[TRIAL]] = _Run(run.info.run_id, last, False, state, described, best)
        self._write_artifacts(artifacts)

    def _start_trial(self, trial_id: str, params: dict[str, object], tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        client = self._client()
        known = self._state.runs.get(trial_id)
        if known is None and self._writer.doubtful:
            known = self._made(trial_id)
        if known is not None:
            self._write_params(known, params)
            self._state.runs[trial_id] = known
            known.open = True
            client.update_run(known.run_id, status="RUNNING")
            client.log_batch(known.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
            return
        given = {
            **tags,
            TRIAL: trial_id,
            LAUNCH: self._launch_id,
            PARENT: self._state.parent,
            NAME: f"{self._kinds[1]} {trial_id}",
            "kind": self._kinds[1],
        }
        run = _Run(client.create_run(self._state.experiment_id, tags=given).info.run_id)
        self._state.runs[trial_id] = run
        self._write_params(run, params)

    def _write_params(self, run: _Run, params: dict[str, object]) -> None:
        from mlflow.entities import Param

        written = [] if run.described else [Param(name(key), _clipped(str(value))) for key, value in params.items()]
        for first in range(0, len(written), PARAMS_A_BATCH):
            self._client().log_batch(run.run_id, params=written[first : first + PARAMS_A_BATCH])
        run.described = True

    def _made(self, trial_id: str) -> _Run | None:
        """The trial's run that the store made and did not say so."""
        found = self._search(f"tags.{TRIAL} = '{trial_id}' and tags.`{PARENT}` = '{self._state.parent}'")
        return _Run(found[0].info.run_id) if found else None

    def _write_reports(self, reports: Sequence[_Report]) -> None:
        by_trial: dict[str, list[_Report]] = {}
        for report in reports:
            by_trial.setdefault(report.trial_id, []).append(report)
        for trial_id, own in by_trial.items():
            run = self._state.runs[trial_id]
            new = [report for report in own if report.epoch > run.last_step]
            metrics = [metric for report in new for metric in _metrics(report)]
            for first in range(0, len(metrics), METRICS_A_BATCH):
                self._client().log_batch(run.run_id, metrics=metrics[first : first + METRICS_A_BATCH])
            run.last_step = max([run.last_step, *(report.epoch for report in new)])

    def _measure(self, metrics: dict[str, float], trial_id: str | None) -> None:
        from mlflow.entities import Metric

        run_id = self._state.parent if trial_id is None else self._state.runs[trial_id].run_id
        known, now = self._client().get_run(run_id).data.metrics, int(time.time() * 1000)
        new = [Metric(name(key), value, now, 0) for key, value in metrics.items() if name(key) not in known]
        self._client().log_batch(run_id, metrics=new)

    def _end_trial(self, trial_id: str, state: str, reason: str, best: dict[str, float], at: float) -> None:
        self._end(self._state.runs[trial_id], state, reason, best, at)

    def _close(self, state: str, reason: str, best: dict[str, float], artifacts: dict[str, str], at: float) -> None:
        for run in self._state.runs.values():
            if run.open:
                self._end(run, "interrupted", "interrupted", {}, at)
        self._end(_Run(self._state.parent), state, reason, best, at)
        self._write_artifacts(artifacts)

    def _end(self, run: _Run, state: str, reason: str, best: dict[str, float], at: float) -> None:
        """at: unix seconds. Told twice, a metric of one time is one metric."""
        from mlflow.entities import Metric, RunTag

        reached = {f"best/{name(key)}": value for key, value in best.items()}
        metrics = [
            Metric(key, value, int(at * 1000), 0) for key, value in reached.items() if run.best.get(key) != value
        ]
        tags = [RunTag(STATE, state), RunTag(REASON, reason or state)]
        self._client().log_batch(run.run_id, metrics=metrics, tags=tags)
        self._client().set_terminated(run.run_id, status=STATUS.get(state, "FAILED"))
        run.open = False

    def _write_artifacts(self, artifacts: Mapping[str, str]) -> None:
        for file, text in artifacts.items():
            self._client().log_text(self._state.parent, text, file)

    def _search(self, condition: str) -> "list[Any]":
        found: list[Any] = []
        token = None
        while True:
            page = self._client().search_runs([self._state.experiment_id], condition, page_token=token, max_results=500)
            found += page
            token = page.token
            if not token:
                return found

    def _client(self) -> "MlflowClient":
        if self._state.client is None:
            client, experiment_id = store.connect(self._uri, self._experiment)
            self._state.experiment_id, self._state.client = experiment_id, client
        return self._state.client


def _metrics(report: _Report) -> "list[Metric]":
    from mlflow.entities import Metric

    at = int(report.at * 1000)
    values = {**report.metrics, "epoch": float(report.epoch)}
    return [Metric(name(key), value, at, report.epoch) for key, value in values.items() if not math.isinf(value)]


def name(key: str) -> str:
    """A key as MLflow allows it: letters, digits, _ - . / : and space."""
    return re.sub(r"[^\w\-./: ]", "_", key)


def _clipped(value: str) -> str:
    return value if len(value) <= PARAM_LENGTH else value[: PARAM_LENGTH - 4] + " ..."
