"""Every test here runs on hosts in network namespaces: `make test-cluster`, as root."""

from pathlib import Path

import pytest

from tests.cluster.namespaces import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here, reason = Path(__file__).parent, missing(sshd=True)
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("cluster")
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))
