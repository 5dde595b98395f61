"""`ray up` on machines one has, a sweep, its report, `ray down`, from a host that plays the laptop: local.yaml."""

import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.hosts import ROOT, Hosts, wait_for
from tests.conftest import write_emoji
from tests.tuner.conftest import WRITTEN
from tuner.journal import Journal

HEAD, WORKERS, LAPTOP = 0, (1, 2), 3
COMMAND = ("python", "-m", "tuner")
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts(4, prefix="up", subnet="10.94.0", sshd=True) as hosts:
        for host in hosts:  # nothing answers behind it: Ray looks which address it would have towards the world
            host.run("ip", "route", "add", "default", "dev", "v0")
        write_emoji(hosts.shared / "data", classes=24, noise=250)  # so that points differ
        yield hosts


@pytest.fixture(scope="module")
def files(hosts: Hosts) -> Path:
    """A folder with local.yaml, changed as it says, and a sweep as small as one can be.

    The environment is the one that is here instead of one built anew.
    """
    folder = hosts.shared / "laptop"
    folder.mkdir()
    text = (ROOT / "docs" / "cluster" / "local.yaml").read_text().replace("/mnt/shared", str(hosts.shared))
    written = yaml.safe_load(text)
    written["provider"] |= {"head_ip": hosts[HEAD].address, "worker_ips": [hosts[n].address for n in WORKERS]}
    written["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    environment = hosts.environment["PATH"].split(":")[0].removesuffix("/bin")
    written["setup_commands"] = [f"ln -sfn {environment} ~/venv"]
    (folder / "local.yaml").write_text(yaml.safe_dump(written, width=1000))
    train = ["dataset.sampler.kwargs.batch_size=16", "experience.max_iter=2"]
    # after the presets a better rate and a worse one: there is a winner, and a trial that is stopped
    points = [{"optimizer.backbone.lr": 0.009}, {"optimizer.backbone.lr": 0.0001}]
    search = {"trials": 3, "startup": 2, "points": points}
    sweep = {**WRITTEN, "train": train, "search": search, "scheduler": {"name": "asha", "grace": 1, "reduction": 2}}
    (folder / "small.yaml").write_text(yaml.safe_dump(sweep))
    other = folder / "other" / "ray-2.59.0.dist-info" / "METADATA"  # a laptop where another Ray is installed
    other.parent.mkdir(parents=True)
    other.write_text("Metadata-Version: 2.1\nName: ray\nVersion: 2.59.0\n")
    return folder


def on_the_laptop(
    hosts: Hosts, files: Path, *words: str, settings: str = "", seconds: float = 400
) -> "subprocess.CompletedProcess[str]":
    line = f"cd {files} && {settings} {shlex.join((*COMMAND, *words))}"
    return hosts[LAPTOP].run("bash", "-c", line, check=False, timeout=seconds)


def ray(hosts: Hosts, files: Path, action: str) -> str:
    line = f"cd {ROOT} && ray {action} -y {files}/local.yaml"
    return hosts[LAPTOP].run("bash", "-c", line, timeout=240).stdout


def test_from_ray_up_to_the_report_and_ray_down(hosts: Hosts, files: Path) -> None:
    ray(hosts, files, "up")
    folder = hosts.shared / "runs" / "small"
    cluster = ("--cluster", "local.yaml")

    refused = [
        (("status", "small.yaml", *cluster), "RAY_AUTH_TOKEN=other", "refuses the token of RAY_AUTH_TOKEN"),
        (("status", "small.yaml", *cluster), "RAY_AUTH_TOKEN_PATH=none", "wants a token"),
        (("status", "small.yaml", "--address", f"{hosts[HEAD].address}:6379"), "", "ssh -N -L 8265:127.0.0.1:8265"),
        (("status", "small.yaml", "--address", f"{hosts[HEAD].address}:8265"), "", "nothing answers there"),
        (("status", "small.yaml", "--address", "10.94.0.99:8265"), "", "nothing answers there (No route to host)"),
        (("run", "small.yaml", *cluster), f"PYTHONPATH={files}/other:{ROOT}", "runs Ray 2.60.0, this machine 2.59.0"),
    ]
    for words, settings, said in refused:
        done = on_the_laptop(hosts, files, *words, settings=settings)
        assert (done.returncode, done.stdout.count("\n")) == (2, 1) and said in done.stdout, done.stdout

    # as soon as `ray up` is back: the workers are on their way, and waited for
    done = on_the_laptop(hosts, files, "run", "small.yaml", *cluster, "--set", "resources.gpu=1")
    assert done.returncode == 2 and "room for one; it is 3 x" in done.stdout and not folder.exists(), done.stdout

    done = on_the_laptop(hosts, files, "run", "small.yaml", *cluster, "--set", "storage=/tmp/runs")
    assert done.returncode == 2 and done.stdout.count("does not share /tmp/runs") == 1, done.stdout

    done = on_the_laptop(hosts, files, "run", "small.yaml", *cluster)
    assert done.returncode == 0 and "roadmap-tune results small.yaml --cluster local.yaml" in done.stdout, done.stdout
    journal = Journal.read(folder)
    assert journal.complete and [trial.state for trial in journal.trials.values()] == [
        "finished",
        "finished",
        "stopped",
    ]
    assert journal.launches[-1].host == hosts[HEAD].name
    done = on_the_laptop(hosts, files, "results", "small.yaml", *cluster)
    assert done.returncode == 0 and done.stdout.count("finished") == 2, done.stdout
    done = on_the_laptop(hosts, files, "report", "small.yaml", *cluster)
    page = folder / "report" / "report.html"
    assert done.returncode == 0 and f"the report: {page}" in done.stdout and page.is_file(), done.stdout
    assert "small launched: 3 trials" in on_the_laptop(hosts, files, "logs", "small.yaml", *cluster).stdout
    done = on_the_laptop(hosts, files, "confirm", "small.yaml", *cluster, "--seeds", "2", "--set", "confirm.arms=1")
    assert done.returncode == 0 and "test split of this sweep has been seen once" in done.stdout, done.stdout
    done = on_the_laptop(hosts, files, "audit", "small.yaml", *cluster)
    audited = Journal.read(folder / "audit").trials
    assert done.returncode == 0 and [trial.state for trial in audited.values()] == ["finished"], done.stdout
    done = on_the_laptop(hosts, files, "pictures", "small.yaml", *cluster)
    assert done.returncode == 0 and "the winner, trial 0001" in done.stdout, done.stdout
    assert list((folder / "pictures").glob("*.png"))

    ctrl_c_detaches_and_the_sweep_goes_on(hosts, files)
    ui_brings_mlflow_to_the_laptop(hosts, files)

    ray(hosts, files, "down")
    wait_for(lambda: not any(host.processes("raylet") for host in hosts), 60, "the end of Ray everywhere")


def ctrl_c_detaches_and_the_sweep_goes_on(hosts: Hosts, files: Path) -> None:
    long = ("--set", "name=long", "--set", "search.trials=40")
    words = ("run", "small.yaml", "--cluster", "local.yaml", *long)
    output = files / "output"
    running = hosts[LAPTOP].start("bash", "-c", f"cd {files} && exec {shlex.join((*COMMAND, *words))}", output=output)
    wait_for(lambda: "long launched" in output.read_text(), 240, "the launch")
    [process] = [one for one in hosts[LAPTOP].processes("tuner run") if "nsenter" not in one.name()]
    process.send_signal(signal.SIGINT)
    assert running.wait(60) == 0 and "detached: long goes on" in output.read_text(), output.read_text()
    done = on_the_laptop(hosts, files, "stop", "small.yaml", "--cluster", "local.yaml", *long)
    assert done.returncode == 0 and "asked to stop" in done.stdout, done.stdout
    assert Journal.read(hosts.shared / "runs" / "long").launches[-1].state == "interrupted"


def ui_brings_mlflow_to_the_laptop(hosts: Hosts, files: Path) -> None:
    output = files / "ui"
    line = f"cd {files} && exec {shlex.join((*COMMAND, 'ui', 'small.yaml', '--cluster', 'local.yaml'))}"
    running = hosts[LAPTOP].start("bash", "-c", line, output=output)
    wait_for(lambda: "Ctrl-C closes" in output.read_text(), 240, "the tunnel")
    assert "http://127.0.0.1:5000/#/experiments/" in output.read_text()
    look = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/version').read())"
    assert "b'3." in hosts[LAPTOP].run("python", "-c", look).stdout
    [process] = [one for one in hosts[LAPTOP].processes("tuner ui") if "nsenter" not in one.name()]
    process.send_signal(signal.SIGINT)
    assert running.wait(60) == 0
    assert not hosts[LAPTOP].processes("ExitOnForwardFailure")
