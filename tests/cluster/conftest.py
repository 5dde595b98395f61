"""Every test here runs on hosts in network namespaces: `make test-cluster`, as root."""

from pathlib import Path

import pytest

from tests.cluster.campaign import Row, table
from tests.cluster.namespaces import missing

FAULTS: list[Row] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here, reason = Path(__file__).parent, missing(sshd=True)
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("cluster")
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FAULTS:
        terminalreporter.write_line("\n" + table(FAULTS))


@pytest.fixture(scope="session")
def faults() -> list[Row]:
    """What the faults did: printed when the run ends."""
    return FAULTS
