"""A sweep in S3 on hosts that share nothing: from a laptop through a tunnel."""

import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import rays
from tests.cluster.hosts import YIELDING, Hosts, wait_for
from tests.conftest import write_emoji
from tests.tuner.conftest import WRITTEN
from tuner.journal import FILE

HEAD, WORKERS, LAPTOP = 0, (1, 2), 3
DATA = Path.home() / "data"  # each host's own
PORT = 5005
MAKE = f"import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:{PORT}/bucket', method='PUT'), timeout=5)"
ADDRESS = ("--address", "127.0.0.1:8265")
NOWHERE = "[dataset.kwargs.data_dir=/dev/null/nowhere,dataset.sampler.kwargs.batch_size=16,experience.max_iter=2]"
pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """A head without data or CPUs, two workers of which one has the data, a laptop with a tunnel; S3 on the head."""
    with Hosts(4, prefix="s3", subnet="10.96.0", sshd=True, nice=YIELDING) as hosts:
        hosts.environment |= {
            "ROADMAP_TUNE_DATA": str(DATA),
            "ROADMAP_TUNE_STORAGE": str(Path.home() / "storage"),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        hosts[HEAD].start("python", "-m", "moto.server", "-H", "0.0.0.0", "-p", str(PORT))
        head = rays.start_head(hosts[HEAD], cpus=0, dashboard=True)
        for number in WORKERS:
            rays.start_worker(hosts[number], head, cpus=1)
        write_emoji(hosts.shared / "data", classes=24, noise=250)
        hosts[WORKERS[0]].run("cp", "-r", str(hosts.shared / "data"), str(DATA))
        hosts[WORKERS[1]].run("touch", str(DATA))  # nothing can be built there
        wait_for(lambda: hosts[HEAD].run("python", "-c", MAKE, check=False).returncode == 0, 60, "the simulated S3")
        login = ["ssh", "-i", str(hosts.key), "-o", "StrictHostKeyChecking=accept-new", f"root@{hosts[HEAD].address}"]
        hosts[LAPTOP].start(*login, "-N", "-L", "8265:127.0.0.1:8265")
        yield hosts


@pytest.fixture(scope="module")
def file(hosts: Hosts) -> Path:
    folder = hosts.shared / "laptop"
    folder.mkdir()
    written = {
        **WRITTEN,
        "train": ["dataset.sampler.kwargs.batch_size=16", "experience.max_iter=2"],
        "search": {"trials": 2, "startup": 2, "points": [{"optimizer.backbone.lr": 0.0001}]},
        "budget": {"concurrent": 1},
        "storage": f"s3://bucket/sweeps?endpoint_override={hosts[HEAD].address}:{PORT}&scheme=http",
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(written))
    return folder / "small.yaml"


def on(host: Any, file: Path, *words: str, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
    line = f"cd {file.parent} && {shlex.join(('python', '-m', 'tuner', words[0], 'small.yaml', *words[1:]))}"
    done: subprocess.CompletedProcess[str] = host.run("bash", "-c", line, check=False, timeout=seconds)
    return done


def events(host: Any, name: str, kind: str) -> list[dict[str, Any]]:
    """Of the journal on the host's own disk."""
    found = list((host.folder / "home" / "storage" / "desks").glob(f"*/{name}/{FILE}"))
    lines = [json.loads(line) for file in found for line in file.read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def test_from_a_laptop_where_one_node_has_no_data(hosts: Hosts, file: Path) -> None:
    laptop, head, other = hosts[LAPTOP], hosts[HEAD], hosts[WORKERS[0]]
    near = yaml.safe_load(file.read_text())["storage"].replace(head.address, "127.0.0.1")
    for setting, said in (
        (f"storage={json.dumps(near)}", "does not share s3://bucket/sweeps (it cannot be reached)"),
        (f"train={NOWHERE}", "no node has the data; node 10.96.0."),
        ("budget.concurrent=2", "without it: budget.concurrent=2 trials"),
    ):
        done = on(laptop, file, "run", *ADDRESS, "--set", setting)
        assert done.returncode == 2 and done.stdout.count(said) == 1, done.stdout
    assert not events(head, "small", "sweep")

    done = on(laptop, file, "run", *ADDRESS)  # one node has no data
    assert done.returncode == 0 and "nothing more is placed on node" in done.stdout, done.stdout
    assert {event["host"] for event in events(head, "small", "report")} == {other.name}
    done = on(laptop, file, "audit", *ADDRESS, "--trials", "1")
    assert done.returncode == 0 and "of 1 stopped" in done.stdout, done.stdout


def test_a_driver_that_is_killed_goes_on_from_the_bucket_alone(hosts: Hosts, file: Path) -> None:
    laptop, head = hosts[LAPTOP], hosts[HEAD]
    train = "[dataset.sampler.kwargs.batch_size=16,experience.max_iter=12]"
    long = (
        "--set",
        "name=long",
        "--set",
        f"train={train}",
        "--set",
        "search.trials=3",
        "--set",
        "scheduler={name: none}",
    )
    done = on(laptop, file, "run", *ADDRESS, *long, "--detach")
    assert done.returncode == 0, done.stdout
    wait_for(lambda: len(events(head, "long", "checkpoint")) >= 4, 120, "a trial on its way")
    for process in head.processes("-m tuner run"):  # and the shell around it
        process.kill()
    wait_for(lambda: not any(host.processes("Trainable") for host in hosts), 60, "the end of its trials")
    head.run("rm", "-rf", str(Path.home() / "storage"))  # as on another machine

    done = on(laptop, file, "resume", *ADDRESS, *long)
    assert done.returncode == 0 and "3 trials finished" in done.stdout, done.stdout
    assert len(events(head, "long", "launch")) == 2
    reports = Counter((event["trial"], event["epoch"]) for event in events(head, "long", "report"))
    assert sorted(reports) == [(trial, epoch) for trial in range(3) for epoch in range(1, 13)]
    assert sum(reports.values()) <= len(reports) + 1, "none again but what came after the newest checkpoint"
