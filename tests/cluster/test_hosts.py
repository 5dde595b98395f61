"""The hosts themselves: apart but for their network and one folder, and gone without a trace."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.cluster.hosts import ROOT, Hosts, wait_for
from tests.cluster.namespaces import PLACE

BESIDE = """
import os, sys
from tests.cluster.hosts import Hosts
with Hosts(1, prefix="left", subnet="10.93.0") as hosts:
    print(hosts._hosts[0]._pid, hosts._switch_pid, hosts.folder, flush=True)
    sys.stdin.read()
"""


def answers(hosts: Hosts, one: int, other: int) -> bool:
    connect = f"import socket; socket.create_connection(('{hosts[other].address}', 22), 1)"
    return hosts[one].run("python", "-c", connect, check=False).returncode == 0


def test_hosts_are_apart_cut_off_and_put_out() -> None:
    with Hosts(2, prefix="apart", subnet="10.92.0", sshd=True) as hosts:
        assert [host.run("hostname").stdout.strip() for host in hosts] == ["apart0", "apart1"]
        hosts[0].run("bash", "-c", "echo own | tee /tmp/file ~/file /dev/shm/file; echo all > common")
        for host, own in zip(hosts, (True, False), strict=True):
            seen = host.run("bash", "-c", "cat common; ls /tmp/file ~/file /dev/shm/file", check=False)
            assert seen.stdout.startswith("all") and (seen.returncode == 0) == own
        assert [path.name for path in hosts[0].tmp] == ["file"] and hosts[1].tmp == []
        assert not Path("/tmp/file").exists() and not (Path.home() / "file").exists()

        assert answers(hosts, 0, 1)
        hosts[1].cut()
        assert not answers(hosts, 0, 1) and answers(hosts, 1, 1)
        hosts[1].heal()
        assert answers(hosts, 0, 1)

        ssh = ["ssh", "-i", str(hosts.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        said = hosts[0].run(*ssh, f"root@{hosts[1].address}", "bash -lc 'hostname; which python'").stdout
        assert "apart1" in said and str(Path(sys.prefix) / "bin/python") in said

        running = hosts[1].start("sleep", "7777")
        wait_for(lambda: hosts[1].processes("sleep 7777"), 5)
        [inside] = hosts[1].processes("sleep 7777")
        hosts[1].power_off()
        assert running.wait() != 0 and not inside.is_running() and not answers(hosts, 0, 1)
        hosts[1].boot()
        assert answers(hosts, 0, 1) and hosts[1].tmp == []
        folder = hosts.folder
    assert not folder.exists()


def test_nothing_is_left_of_a_run_that_was_killed() -> None:
    command = [sys.executable, "-c", BESIDE]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    host, switch, folder = process.stdout.readline().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs([psutil.Process(int(pid)) for pid in (host, switch) if psutil.pid_exists(int(pid))], timeout=5)
    assert not psutil.pid_exists(int(host)) and not psutil.pid_exists(int(switch))
    assert Path(folder).is_relative_to(PLACE)
    with Hosts(0, prefix="next", subnet="10.93.0"):
        assert not Path(folder).exists()


def test_a_slowed_host_has_its_share_of_the_time() -> None:
    used = "import time; end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(time.process_time() / 2)"
    with Hosts(1, prefix="slow", subnet="10.92.0") as hosts:
        full = float(hosts[0].run("python", "-c", used).stdout)
        with hosts[0].slowed(10):
            slow = float(hosts[0].run("python", "-c", used).stdout)
    assert slow < 0.25 and slow < full
