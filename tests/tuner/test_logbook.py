"""A sweep's log: times, no secrets, what else writes to standard error; without Ray but for its list of listeners."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tuner import logbook
from tuner.logbook import FILE, Logbook

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
NOISE = """
import logging, os, sys, warnings
from pathlib import Path
from tuner import logbook
logging.basicConfig(level=logging.WARNING, format="%(message)s")
book, told = logbook.Logbook(Path(sys.argv[1])), []
with logbook.standard_error(book) as console, logbook.listening(book, told.append):
    print("the table", file=console)
    print("from Python", file=sys.stderr)
    os.write(2, b"from C\\n")
    warnings.warn("from a library")
    logging.getLogger("ray.tune").warning("from Ray")
    logging.getLogger("tuner.tracking").warning("from us")
print("again", file=sys.stderr)
assert told == ["from us"], told
"""


def test_lines_have_times_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "open sesame")
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh12345")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    book = Logbook(tmp_path)
    book.write(
        "open sesame is said\n"
        "the token of https://me:mine@host/path?token=12345&x=1 and \x1b[31mabcdefgh12345\x1b[0m\x07"
    )
    book.close()
    again = Logbook(tmp_path)
    again.write("after a resume")
    again.close()
    lines = (tmp_path / FILE).read_text().splitlines()
    assert [re.sub(f"^{TIME}", "", line) for line in lines] == [
        "*** is said",
        "the token of https://***@host/path?token=***&x=1 and ***",
        "after a resume",
    ]
    assert all(re.match(TIME, line) for line in lines)


def test_a_folder_that_takes_no_writes_ends_nothing(tmp_path: Path) -> None:
    book = Logbook(tmp_path / "not there")
    book.write("lost")
    book.close()


def test_what_else_writes_goes_into_the_log_and_not_onto_the_console(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", NOISE, str(tmp_path)], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stderr == "the table\nagain\n" and not done.stdout
    log = (tmp_path / FILE).read_text()
    for said in ("from Python\n", "from C\n", "UserWarning: from a library\n", "ray.tune warning: from Ray\n"):
        assert said in log
    assert re.search(f"^{TIME}from Python$", log, re.MULTILINE)


def test_what_workers_print(tmp_path: Path) -> None:
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as workers

    book, shown = Logbook(tmp_path), list[str]()
    before = logging.getLogger().handlers[:]
    with logbook.listening(book, shown.append, shown.append):
        workers.emit({"lines": ["one", "two"], "pid": 7, "ip": "127.0.0.1", "is_err": True, "actor_name": "Trial"})
    workers.emit({"lines": ["nobody listens"], "pid": 7, "ip": "127.0.0.1"})
    book.close()
    assert shown == ["(Trial pid=7, ip=127.0.0.1) one", "(Trial pid=7, ip=127.0.0.1) two"]
    assert [line[20:] for line in (tmp_path / FILE).read_text().splitlines()] == shown
    assert logging.getLogger().handlers == before
