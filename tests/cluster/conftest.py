"""Every test here runs on hosts in network namespaces: `make test-cluster`, as root."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.campaign import Row, table
from tests.cluster.namespaces import missing

FAULTS: list[Row] = []
LONG = ("test_faults.py", "test_launch.py")  # first: two files at a time then end at about the same time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here, reason = Path(__file__).parent, missing(sshd=True)
    items.sort(key=lambda item: item.path.name not in LONG)
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("cluster")
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that shares the files with others hands its rows to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = [astuple(row) for row in FAULTS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    FAULTS.extend(Row(*row) for row in getattr(node, "workeroutput", {}).get("faults", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FAULTS:
        terminalreporter.write_line("\n" + table(FAULTS))


@pytest.fixture(scope="session")
def faults() -> list[Row]:
    """What the faults did: printed when the run ends."""
    return FAULTS
