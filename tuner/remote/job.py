"""One command as a Ray job: submitted, followed, found again.

The job is the cluster's from then on: the machine that submitted it may go.
"""

import asyncio
import logging
import os
import re
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainables.errors import UserError, first_line
from tuner import provenance
from tuner.places import SHIPPED
from tuner.remote.dashboard import Dashboard

COMMAND, SWEEP = "roadmap-tune", "sweep"  # keys of a job's metadata
SECONDS_TO_COME_BACK = 60.0  # a connection that is lost for longer is given up
SECONDS_BETWEEN_TRIES = 2.0
# what Ray writes into a job's log before the job does
PREAMBLE = re.compile(r"^(?:.* job_manager\.py:\d+ -- Runtime env is setting up\.\n)?Running entrypoint for job .*\n")
STOPPED, FAILED, REFUSED = 130, 1, 2


class ConnectionGone(Exception):
    """The cluster's dashboard has not answered for SECONDS_TO_COME_BACK."""


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, dashboard: Dashboard) -> None:
        from ray.job_submission import JobSubmissionClient

        for logger in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        with _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # they overrule what one is asked to connect to
            self._client = JobSubmissionClient(dashboard.url, headers=dashboard.headers)

    def submit(self, words: Sequence[str], folder: Path, sweep: str) -> str:
        """Starts `python -m tuner WORDS` on the head, in the folder as shipped; the job's name."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        try:
            return self._client.submit_job(
                entrypoint=shlex.join(["python", "-m", "tuner", *words]),
                submission_id=f"{sweep}-{words[0]}-{stamp}-{uuid.uuid4().hex[:4]}",
                runtime_env={"working_dir": str(folder), "env_vars": {SHIPPED: "1", **provenance.sent()}},
                metadata={COMMAND: words[0], SWEEP: sweep},
            )
        except RuntimeError as error:
            raise UserError(f"the cluster takes no job: {first_line(error)}") from None

    def newest(self, sweep: str, commands: Sequence[str]) -> str | None:
        """The job of these commands that runs; else the latest, and not a refused one where there is another."""
        found = [
            job
            for job in self._client.list_jobs()
            if job.submission_id and _told(job).get(SWEEP) == sweep and _told(job).get(COMMAND) in commands
        ]

        def rank(job: Any) -> tuple[bool, bool, int]:
            return not job.status.is_terminal(), job.driver_exit_code != REFUSED, job.start_time or 0

        return str(max(found, key=rank).submission_id) if found else None

    def log(self, name: str) -> str:
        """All that a job has printed so far."""
        return PREAMBLE.sub("", self._client.get_job_logs(name), count=1)

    def follow(self, name: str, write: Callable[[str], object], until: Callable[[str], bool] | None = None) -> bool:
        """Hands on what the job prints as it comes; whether it has ended.

        False: it goes on, and a piece of what it printed fulfilled `until`. ConnectionGone: nobody answers any more.
        """
        from aiohttp import ClientError

        log = _Log(write)
        lost_at: float | None = None
        while True:
            try:
                if asyncio.run(self._tail(name, log, until)):
                    return False
                if self.ended(name):
                    return True
                lost_at = None
            except (OSError, RuntimeError, ClientError) as error:
                now = time.monotonic()
                lost_at = now if lost_at is None or log.grew else lost_at
                if now - lost_at > SECONDS_TO_COME_BACK:
                    raise ConnectionGone(first_line(error)) from None
            log.again()
            time.sleep(SECONDS_BETWEEN_TRIES)

    def ended(self, name: str) -> bool:
        return bool(self._client.get_job_status(name).is_terminal())

    def code(self, name: str) -> int:
        """The exit code of a job that has ended; what Ray says of it on stderr where it never ran."""
        info = self._client.get_job_info(name)
        if info.status == "SUCCEEDED":
            return 0
        if info.status == "STOPPED":
            return STOPPED
        if info.driver_exit_code is not None:
            return int(info.driver_exit_code)
        print(f"roadmap-tune: the job ended: {(info.message or 'without a word').splitlines()[0]}", file=sys.stderr)
        return FAILED

    def stop(self, name: str) -> None:
        self._client.stop_job(name)

    def forget(self, name: str) -> None:
        """Out of the cluster's list."""
        self._client.delete_job(name)

    async def _tail(self, name: str, log: "_Log", until: Callable[[str], bool] | None) -> bool:
        async for piece in self._client.tail_job_logs(name):
            new = log.take(piece)
            if until is not None and until(new):
                return True
        return False


class _Log:
    """A job's log, of which a connection that is made anew tells everything from the beginning."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._told = 0  # characters handed on, over all connections
        self.again()

    def again(self) -> None:
        """A new connection."""
        self._preamble: str | None = ""  # what came of it; None once it is over
        self._at = 0  # characters that came on this connection
        self.grew = False

    def take(self, piece: str) -> str:
        """What of the piece is new."""
        if self._preamble is not None:
            self._preamble += piece
            found = PREAMBLE.match(self._preamble)
            if found is None:
                return ""
            piece, self._preamble = self._preamble[found.end() :], None
        new = piece[max(0, self._told - self._at) :]
        self._at += len(piece)
        if new:
            self._told, self.grew = self._told + len(new), True
            self._write(new)
        return new


def _told(job: Any) -> dict[str, str]:
    return job.metadata or {}


@contextmanager
def _without(*names: str) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
