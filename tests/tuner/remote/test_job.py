"""A job's log as it comes, over connections that break; how a job ended."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from tuner.remote import job
from tuner.remote.job import ConnectionGone, Jobs

PREAMBLE = (
    "2026-11-25 22:44:50,834\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    "Running entrypoint for job small-run: python -m tuner run small.yaml\n"
)


class Client:
    """Of Ray's job client, what Jobs uses. connections: what each tells; None: it breaks there."""

    def __init__(self, connections: list[list[str | None]], **info: Any) -> None:
        self.connections = connections
        self.info = {"status": "SUCCEEDED", "driver_exit_code": 0, "message": "", **info}

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        if not self.connections:
            raise ConnectionError("refused")
        for piece in self.connections.pop(0):
            if piece is None:
                raise ConnectionError("reset")
            yield piece

    def get_job_status(self, name: str) -> Any:
        return SimpleNamespace(is_terminal=lambda: not self.connections)

    def get_job_info(self, name: str) -> Any:
        return SimpleNamespace(**self.info)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "SECONDS_BETWEEN_TRIES", 0.01)


def jobs(client: Client) -> Jobs:
    made = Jobs.__new__(Jobs)
    made._client = client  # type: ignore[assignment]
    return made


def test_every_line_is_told_once_over_broken_connections() -> None:
    client = Client(
        [
            [PREAMBLE[:40], PREAMBLE[40:] + "one\n", None],
            [PREAMBLE, "one\n", "two\n", None],
            [None],
            [PREAMBLE + "one\ntwo\nthr", "ee\n"],
        ]
    )
    told: list[str] = []
    assert jobs(client).follow("small-run", told.append)
    assert "".join(told) == "one\ntwo\nthree\n"


def test_it_may_be_left_at_a_word() -> None:
    client = Client([[PREAMBLE, "small launched: 3 trials\n", "trial 0000\n"], []])
    told: list[str] = []
    assert not jobs(client).follow("small-run", told.append, lambda text: "launched" in text)
    assert told == ["small launched: 3 trials\n"]


def test_a_connection_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "SECONDS_TO_COME_BACK", 0.1)
    client = Client([[PREAMBLE, "one\n", None]])
    client.get_job_status = lambda name: SimpleNamespace(is_terminal=lambda: False)  # type: ignore[method-assign]
    with pytest.raises(ConnectionGone):
        jobs(client).follow("small-run", lambda text: None)


def test_the_newest_log_is_that_of_what_runs_or_ran() -> None:
    def listed(name: str, start: int, ended: bool = True, code: int | None = 0, sweep: str = "small") -> Any:
        return SimpleNamespace(
            submission_id=name,
            start_time=start,
            status=SimpleNamespace(is_terminal=lambda: ended),
            driver_exit_code=code,
            metadata={"roadmap-tune": "run", "sweep": sweep},
        )

    client = Client([])
    finished, refused = listed("finished", 1), listed("refused", 2, code=2)
    client.list_jobs = lambda: [finished, refused, listed("other", 9, sweep="other")]  # type: ignore[attr-defined]
    assert jobs(client).newest("small", ("run", "resume")) == "finished"
    client.list_jobs = lambda: [listed("running", 0, ended=False, code=None), finished]  # type: ignore[attr-defined]
    assert jobs(client).newest("small", ("run",)) == "running"
    assert jobs(client).newest("small", ("stop",)) is None


@pytest.mark.parametrize(
    ("info", "code"),
    [
        ({}, 0),
        ({"status": "FAILED", "driver_exit_code": 2}, 2),
        ({"status": "STOPPED", "driver_exit_code": None}, 130),
        ({"status": "FAILED", "driver_exit_code": None, "message": "runtime env failed\nmore"}, 1),
    ],
)
def test_the_exit_code_is_the_drivers(info: dict[str, Any], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert jobs(Client([], **info)).code("small-run") == code
    said = capsys.readouterr().err
    assert said == ("roadmap-tune: the job ended: runtime env failed\n" if code == 1 else "")
