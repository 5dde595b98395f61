"""Every trial in MLflow, written from a thread of its own.

One parent run a launch, one child run a trial, one grandchild a fold. The sweep puts what happened into a queue and
goes on; the thread writes (scribe.py says what). MLflow being slow, down or full never stops a sweep: what it does not
take waits, in order, and what it refuses is counted and said. The spool is the journal, which has all of it on disk:
the next launch, or `roadmap-tune track`, writes what is left. MLflow is imported in that thread: it takes seconds, and
no trial ever needs it.
"""

import logging
import time
from collections.abc import Mapping

from tuner import secrets
from tuner.scribe import LAUNCH, NAME, PARENT, REASON, STATE, TRIAL, Details, Files, Report, Scribe, name
from tuner.writer import TrackingSummary, Writer

__all__ = (
    "LAUNCH", "NAME", "PARENT", "REASON", "STATE", "TRIAL", "Details", "Tracker", "TrackingSummary", "name",
)  # fmt: skip

log = logging.getLogger("tuner.tracking")

PLAIN = Details()


class Tracker:
    """Writes one launch of a sweep. Every method returns at once but `close`; none raises what MLflow raises.

    kinds: the tag `kind` of the parent run and of its children. Times are unix seconds; None: now.
    """

    def __init__(self, uri: str, experiment: str, launch_id: str, kinds: tuple[str, str] = ("sweep", "trial")) -> None:
        self._uri, self._scribe = uri, Scribe(uri, experiment, launch_id, kinds)
        self._writer: Writer[Report] = Writer(self._scribe.write, self._takes_writes, self._tell)

    def open(self, tags: Mapping[str, str], artifacts: Files, began: float | None = None) -> None:
        """The parent run: found by its launch id on resume, else made."""
        told, files = dict(tags), dict(artifacts)
        self._writer.start()
        self._writer.do(lambda: self._scribe.open(told, files, began, self._writer.doubtful))

    def start_trial(
        self, trial_id: str, params: Mapping[str, object], tags: Mapping[str, str], details: Details = PLAIN
    ) -> None:
        """A run below the parent, or below another: found by its trial id on resume, else made."""
        point, told = dict(params), dict(tags)
        self._writer.do(lambda: self._scribe.start(trial_id, point, told, details, self._writer.doubtful))
        self._describe(trial_id, details)

    def settle_trial(
        self,
        trial_id: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        state: str,
        details: Details = PLAIN,
    ) -> None:
        """A trial that ended before this launch: as `start_trial` where MLflow does not know of its end; then come its
        reports and `end_trial`, of which MLflow gets what it has not."""
        point, told = dict(params), dict(tags)

        def settle() -> None:
            if not self._scribe.knows(trial_id, state):
                self._scribe.start(trial_id, point, told, details, self._writer.doubtful)

        self._writer.do(settle)
        self._describe(trial_id, details)

    def report(self, trial_id: str, epoch: int, metrics: Mapping[str, float], at: float) -> None:
        """One epoch's metrics at unix time `at`; a step that the run has already is not written twice."""
        self._writer.add(Report(trial_id, epoch, dict(metrics), at))

    def measure(self, metrics: Mapping[str, float], trial_id: str | None = None) -> None:
        """Numbers of no epoch, of a trial or (None) of the parent run; those that the run has are not written again."""
        measured = dict(metrics)
        self._writer.do(lambda: self._scribe.measure(measured, trial_id))

    def tag(self, tags: Mapping[str, str], trial_id: str | None = None) -> None:
        """What is known later than the run, of a trial or (None) of the parent run."""
        told = dict(tags)
        self._writer.do(lambda: self._scribe.tag(trial_id, told))

    def end_trial(
        self, trial_id: str, state: str, reason: str, best: Mapping[str, float], at: float | None = None
    ) -> None:
        reached, ended = dict(best), time.time() if at is None else at
        self._writer.do(lambda: self._scribe.end(trial_id, state, reason, reached, ended))

    def close(
        self,
        state: str,
        best: Mapping[str, float],
        artifacts: Files,
        timeout_s: float,
        reason: str = "",
        at: float | None = None,
    ) -> TrackingSummary:
        """Writes what waits, for at most `timeout_s`; runs that have not ended are closed as interrupted."""
        reached, files, ended = dict(best), dict(artifacts), time.time() if at is None else at
        self._writer.do(lambda: self._scribe.close(state, reason, reached, files, ended))
        return self._writer.close(timeout_s)

    def _describe(self, trial_id: str, details: Details) -> None:
        files = details.files
        if files is not None:
            self._writer.do(lambda: self._scribe.describe(trial_id, files))

    def _tell(self, text: str) -> None:
        log.warning("MLflow at %s: %s; the sweep goes on", secrets.safe(self._uri), text)

    def _takes_writes(self) -> bool:
        try:
            self._scribe.probe()
        except Exception:
            return False
        return True
