"""`ray up` on machines one has to `results`, from a host that plays the laptop: docs/cluster/local.yaml, as it ships."""

import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.hosts import ROOT, Host, Hosts, wait_for
from tests.conftest import write_emoji
from tests.tuner.conftest import WRITTEN
from tuner.journal import Journal

LAPTOP = 3
OWN_SETUP = ["ln -sfn {environment} ~/venv", "mkdir -p ~/.ray"]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts(4, prefix="up", subnet="10.94.0", sshd=True) as hosts:
        for host in hosts:  # nothing leaves it: Ray asks which address it would have towards the world
            host.run("ip", "route", "add", "default", "dev", "v0")
        write_emoji(hosts.shared / "data", classes=24)
        yield hosts


@pytest.fixture(scope="module")
def cluster_file(hosts: Hosts) -> Path:
    """What the file says to change, changed; and the environment that is here instead of one built anew."""
    text = (ROOT / "docs" / "cluster" / "local.yaml").read_text().replace("/mnt/shared", str(hosts.shared))
    written = yaml.safe_load(text)
    written["provider"] |= {"head_ip": hosts[0].address, "worker_ips": [hosts[1].address, hosts[2].address]}
    written["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    environment = hosts.environment["PATH"].split(":")[0].removesuffix("/bin")
    written["setup_commands"] = [f"ln -sfn {environment} ~/venv"]
    file = hosts.shared / "local.yaml"
    file.write_text(yaml.safe_dump(written, width=1000))
    return file
