"""`ray up` on machines one has, a sweep, its report, `ray down`, from a host that plays the laptop: local.yaml."""

import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.cluster.hosts import ROOT, YIELDING, Hosts, wait_for
from tests.conftest import write_emoji
from tests.tuner.conftest import WRITTEN
from tuner.journal import Journal

HEAD, WORKERS, LAPTOP = 0, (1, 2), 3
COMMAND = ("python", "-m", "tuner")
CLUSTER = ("--cluster", "local.yaml")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts(4, prefix="up", subnet="10.94.0", sshd=True, nice=YIELDING) as hosts:
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
    rates = {"optimizer.backbone.lr": {"choice": [0.001, 0.002, 0.003, 1e30]}}  # no network stands the last one
    search = {"trials": 80, "sampler": "random", "seed": 1, "points": [{"optimizer.backbone.lr": 1e30}]}
    long = {"name": "long", "train": [train[0], "experience.max_iter=12"], "scheduler": {"name": "none"}}
    (folder / "long.yaml").write_text(yaml.safe_dump({**sweep, **long, "space": rates, "search": search}))
    other = folder / "other" / "ray-2.59.0.dist-info" / "METADATA"  # a laptop where another Ray is installed
    other.parent.mkdir(parents=True)
    other.write_text("Metadata-Version: 2.1\nName: ray\nVersion: 2.59.0\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def cluster(hosts: Hosts, files: Path) -> None:
    ray(hosts, files, "up")


def on_the_laptop(
    hosts: Hosts, files: Path, *words: str, settings: str = "", seconds: float = 400
) -> "subprocess.CompletedProcess[str]":
    line = f"cd {files} && {settings} {shlex.join((*COMMAND, *words))}"
    return hosts[LAPTOP].run("bash", "-c", line, check=False, timeout=seconds)


def ray(hosts: Hosts, files: Path, action: str) -> str:
    line = f"cd {ROOT} && ray {action} -y {files}/local.yaml"
    return hosts[LAPTOP].run("bash", "-c", line, timeout=240).stdout


def launched(hosts: Hosts, files: Path, output: Path, *words: str) -> tuple["subprocess.Popen[bytes]", psutil.Process]:
    """The command on the laptop once its sweep is there: as it is known here, and its own process."""
    line = f"cd {files} && exec {shlex.join((*COMMAND, *words, *CLUSTER))}"
    running = hosts[LAPTOP].start("bash", "-c", line, output=output)
    found: list[psutil.Process] = []

    def look() -> bool:
        title = f"tuner {words[0]}"
        found[:] = [one for one in hosts[LAPTOP].processes(title) if "nsenter" not in one.name()]
        return len(found) == 1

    wait_for(look, 60, f"{words[0]} on the laptop")
    return running, found[0]


@pytest.mark.full
def test_what_is_refused(hosts: Hosts, files: Path) -> None:
    refused = [
        (("status", "small.yaml", *CLUSTER), "RAY_AUTH_TOKEN=other", "refuses the token of RAY_AUTH_TOKEN"),
        (("status", "small.yaml", *CLUSTER), "RAY_AUTH_TOKEN_PATH=none", "wants a token"),
        (("status", "small.yaml", "--address", f"{hosts[HEAD].address}:6379"), "", "ssh -N -L 8265:127.0.0.1:8265"),
        (("status", "small.yaml", "--address", f"{hosts[HEAD].address}:8265"), "", "nothing answers there"),
        (("status", "small.yaml", "--address", "10.94.0.99:8265"), "", "nothing answers there (No route to host)"),
        (("run", "small.yaml", *CLUSTER), f"PYTHONPATH={files}/other:{ROOT}", "runs Ray 2.60.0, this machine 2.59.0"),
    ]
    for words, settings, said in refused:
        done = on_the_laptop(hosts, files, *words, settings=settings)
        assert (done.returncode, done.stdout.count("\n")) == (2, 1) and said in done.stdout, done.stdout

    # as soon as `ray up` is back: the workers are on their way, and waited for
    done = on_the_laptop(hosts, files, "run", "small.yaml", *CLUSTER, "--set", "resources.gpu=1")
    assert done.returncode == 2 and "room for one; it is 3 x" in done.stdout, done.stdout
    done = on_the_laptop(hosts, files, "run", "small.yaml", *CLUSTER, "--set", "storage=/tmp/runs")
    assert done.returncode == 2 and done.stdout.count("does not share /tmp/runs") == 1, done.stdout
    assert not (hosts.shared / "runs" / "small").exists()


def test_a_sweep_and_its_report(hosts: Hosts, files: Path) -> None:
    folder = hosts.shared / "runs" / "small"
    done = on_the_laptop(hosts, files, "run", "small.yaml", *CLUSTER)
    assert done.returncode == 0 and "roadmap-tune results small.yaml --cluster local.yaml" in done.stdout, done.stdout
    journal = Journal.read(folder)
    assert journal.complete and journal.launches[-1].host == hosts[HEAD].name
    assert [trial.state for trial in journal.trials.values()] == ["finished", "finished", "stopped"]
    done = on_the_laptop(hosts, files, "report", "small.yaml", *CLUSTER)
    page = folder / "report" / "report.html"
    assert done.returncode == 0 and f"the report: {page}" in done.stdout and page.is_file(), done.stdout


@pytest.mark.full
def test_what_is_asked_of_it_afterwards(hosts: Hosts, files: Path) -> None:
    done = on_the_laptop(hosts, files, "results", "small.yaml", *CLUSTER)
    assert done.returncode == 0 and done.stdout.count("finished") == 2, done.stdout
    assert "small launched: 3 trials" in on_the_laptop(hosts, files, "logs", "small.yaml", *CLUSTER).stdout


@pytest.mark.full
def test_its_winner_is_confirmed_audited_and_drawn(hosts: Hosts, files: Path) -> None:
    folder = hosts.shared / "runs" / "small"
    done = on_the_laptop(hosts, files, "confirm", "small.yaml", *CLUSTER, "--seeds", "2", "--set", "confirm.arms=1")
    assert done.returncode == 0 and "test split of this sweep has been seen once" in done.stdout, done.stdout
    done = on_the_laptop(hosts, files, "audit", "small.yaml", *CLUSTER)
    audited = Journal.read(folder / "audit").trials
    assert done.returncode == 0 and [trial.state for trial in audited.values()] == ["finished"], done.stdout
    done = on_the_laptop(hosts, files, "pictures", "small.yaml", *CLUSTER)
    assert done.returncode == 0 and "the winner, trial 0001" in done.stdout, done.stdout
    assert list((folder / "pictures").glob("*.png"))


@pytest.mark.full
def test_a_sweep_goes_on_without_the_laptop_and_is_changed_from_there(hosts: Hosts, files: Path) -> None:
    folder, output = hosts.shared / "runs" / "long", files / "output"
    running, process = launched(hosts, files, output, "run", "long.yaml")
    wait_for(lambda: "long launched" in output.read_text(), 240, "the launch")
    process.send_signal(signal.SIGINT)
    assert running.wait(60) == 0 and "detached: long goes on" in output.read_text(), output.read_text()

    def diverged() -> bool:
        trials = Journal.read(folder).trials
        return 1 in trials and trials[1].state == "infeasible"

    wait_for(diverged, 120, "the trial that diverges")
    for words, said in (
        (("concurrent", "long.yaml", "1"), "1 at a time from now on"),
        (("retry", "long.yaml", "--infeasible"), "trials go on"),
        (("status", "long.yaml"), "long is running on"),
        (("stop", "long.yaml"), "asked to stop"),
    ):
        done = on_the_laptop(hosts, files, *words, *CLUSTER)
        assert done.returncode == 0 and said in done.stdout, done.stdout
    journal = Journal.read(folder)
    assert journal.launches[-1].state == "interrupted" and not journal.complete

    done = on_the_laptop(hosts, files, "resume", "long.yaml", *CLUSTER, "--detach")
    assert done.returncode == 0, done.stdout
    following, _ = launched(hosts, files, files / "followed", "status", "long.yaml", "--follow")
    done = on_the_laptop(hosts, files, "stop", "long.yaml", "--now", *CLUSTER)
    assert done.returncode == 0 and "ends at once" in done.stdout, done.stdout
    assert following.wait(60) == 0 and "long is interrupted" in (files / "followed").read_text()
    assert [launch.state for launch in Journal.read(folder).launches] == ["interrupted", "interrupted"]


@pytest.mark.full
def test_the_ui_on_the_laptop(hosts: Hosts, files: Path) -> None:
    output = files / "ui"
    running, process = launched(hosts, files, output, "ui", "small.yaml")
    wait_for(lambda: "Ctrl-C closes" in output.read_text(), 240, "the tunnel")
    assert "http://127.0.0.1:5000/#/experiments/" in output.read_text()
    look = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/version').read())"
    assert "b'3." in hosts[LAPTOP].run("python", "-c", look).stdout
    process.send_signal(signal.SIGINT)
    assert running.wait(60) == 0
    assert not hosts[LAPTOP].processes("ExitOnForwardFailure")


def test_ray_down(hosts: Hosts, files: Path) -> None:
    ray(hosts, files, "down")
    wait_for(lambda: not any(host.processes("raylet") for host in hosts), 60, "the end of Ray everywhere")
