"""What this machine says and leaves behind after a command on a cluster. No Ray: the job is told here."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainables.errors import UserError
from tuner.remote import commands
from tuner.remote.commands import Place
from tuner.remote.dashboard import Dashboard


class Jobs:
    """One job that prints `said`."""

    def __init__(self, said: str) -> None:
        self.said, self.forgotten = said, []

    def submit(self, words: Sequence[str], folder: Path, sweep: str) -> str:
        return f"{sweep}-{words[0]}"

    def follow(self, name: str, write: Callable[[str], object], until: Callable[[str], bool]) -> bool:
        write(self.said)
        return not until(self.said)

    def code(self, name: str) -> int:
        return 0

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


@pytest.fixture(autouse=True)
def _nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def packed(words: Sequence[str]) -> Iterator[tuple[Path, list[str]]]:
        yield Path(), list(words)

    monkeypatch.setattr(commands, "packed", packed)


def launched(jobs: Jobs, command: str, **values: Any) -> int:
    place = Place(Dashboard("http://127.0.0.1:8265", None, "x"), "--cluster local.yaml", None)
    arguments = argparse.Namespace(sweep="small.yaml", settings=["name=long run"], **values)
    return commands._launch(jobs, place, "long", [command, "small.yaml"], arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "said", "forgotten"),
    [
        ("extend", "long: 8 trials now\n", ["long-extend"]),
        ("extend", "long launched: 8 trials in runs/long\n", []),
        ("run", "long launched: 8 trials in runs/long\n", []),
    ],
)
def test_what_was_a_request_is_no_log_of_the_sweep(command: str, said: str, forgotten: list[str]) -> None:
    jobs = Jobs(said)
    assert launched(jobs, command) == 0
    assert jobs.forgotten == forgotten


def test_hints_name_the_same_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    assert launched(Jobs("long launched: 8 trials in runs/long\n"), "run", detach=True) == 0
    said = capsys.readouterr().err
    assert "  roadmap-tune logs small.yaml --cluster local.yaml --set 'name=long run' --follow\n" in said
    assert "  roadmap-tune stop small.yaml --cluster local.yaml --set 'name=long run'\n" in said


def test_a_folder_of_this_machine_is_refused() -> None:
    arguments = argparse.Namespace(sweep="small.yaml", settings=[], out=Path("page"))
    with pytest.raises(UserError, match=r"^--out: a place on this machine, and report happens on the cluster"):
        commands.carry_out(arguments, ["report", "small.yaml", "--cluster", "local.yaml"])
