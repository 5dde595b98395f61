"""One sweep on hosts that are struck by faults: started, followed through its journal, and judged at the end."""

import json
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import rays
from tests.cluster.hosts import Host, Hosts, wait_for
from tests.conftest import write_emoji
from tuner import requests, store
from tuner.events import Reader
from tuner.journal import FILE, Journal

TRIALS, EPOCHS, CONCURRENT = 8, 16, 2
TRIAL = "Trainable"  # how the process of a trial is called
PATIENCE_S = 150.0
SWEEP = {
    "name": "struck",
    "goal": "lose nothing, whatever happens to the machines",
    "train": ["dataset.sampler.kwargs.batch_size=16", f"experience.max_iter={EPOCHS}"],
    "space": {"loss.SupAP.tau": {"loguniform": [0.001, 0.1]}},
    "search": {"trials": TRIALS, "sampler": "random", "seed": 1},
    "scheduler": {"name": "none"},
    "validation": {"fraction": 0.34},
    "budget": {"concurrent": CONCURRENT, "free_gb": 0.02},
}


@dataclass(frozen=True)
class Row:
    """What a fault did. Seconds from the fault on; None: there was nothing to notice."""

    fault: str
    noticed_s: float | None
    moved: int
    repeated: int
    total_s: float
    states: str


class Campaign:
    """The sweep `struck`, its driver on the first host, its trials on all; `rows` has what happened."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.rows = hosts, list[Row]()
        self.file, self.output = hosts.shared / "struck.yaml", hosts.shared / "driver.log"
        self.database = hosts.shared / "mlflow.db"
        self.storage = hosts.shared / "storage"
        self.folder = hosts.view(self.storage / "struck")
        write_emoji(hosts.shared / "data", noise=120)
        written = {**SWEEP, "storage": str(self.storage), "tracking": "http://127.0.0.1:5000"}
        self.file.write_text(yaml.safe_dump(written))
        hosts.environment["ROADMAP_TUNE_DATA"] = str(hosts.shared / "data")
        self._head = self._asked = ""
        self._journal: Journal | None = None
        self._reader, self._told = Reader(self.folder / FILE), list[dict[str, Any]]()
        self._driver: subprocess.Popen[bytes] | None = None

    # -- the machines -------------------------------------------------------------------------------------------------

    def start_cluster(self) -> None:
        """MLflow and Ray's head on the first host, a worker on each other one."""
        self.start_mlflow()
        self._head = rays.start_head(self.hosts[0], cpus=1)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.join, list(self.hosts)[1:]))
        self.reachable()

    def join(self, host: Host) -> None:
        rays.start_worker(host, self._head, cpus=1, gpus=2)

    def start_mlflow(self) -> None:
        command, _ = store.server(f"sqlite:///{self.database}", "127.0.0.1", 5000)
        environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.hosts[0].start(*command, env=environment, output=self.hosts.shared / "mlflow.log")

    def reachable(self) -> None:
        """Until MLflow answers; a sweep that runs goes on meanwhile."""
        connect = "import socket; socket.create_connection(('127.0.0.1', 5000), 1)"

        def look() -> bool:
            if self._driver is not None and self._driver.poll() is None:
                self.go_on()
            return self.hosts[0].run("python", "-c", connect, check=False).returncode == 0

        wait_for(look, 60, "MLflow")

    # -- the sweep ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Launches the sweep, or goes on with it."""
        self._asked = ""  # a driver that was killed answers nothing
        how = "resume" if self.journal.header else "run"
        command = ("python", "-m", "tuner", how, str(self.file), "--address", "auto")
        self._driver = self.hosts[0].start(*command, output=self.output)

    def kill_driver(self) -> None:
        [driver] = self.hosts[0].processes("-m tuner")
        driver.kill()
        assert self._driver is not None
        self._driver.wait()

    def finish(self) -> str:
        """Waits until the driver has ended well; what it printed over all launches."""
        assert self._driver is not None
        code = self._driver.wait(240)
        said = self.output.read_text()
        assert code == 0, said[-4000:]
        return said

    @property
    def journal(self) -> Journal:
        self._journal = Journal.read(self.folder) if self._journal is None else self._journal.again()
        return self._journal

    def said(self, text: str, since: int = 0) -> bool:
        return text in self.output.read_text()[since:]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        self._told += self._reader.new()
        return self._told[since:]

    def go_on(self) -> None:
        """Two trials run and six more follow: the sweep outlives the next fault."""
        journal = self.journal
        more = 4 * CONCURRENT - (journal.planned - sum(trial.ended for trial in journal.trials.values()))
        if journal.launches and more > 0 and self._asked in ("", *journal.answers):
            self._asked = requests.ask(self.folder, "extend", trials=more, hours=0.0, gpu_hours=0.0)

    def victim(self, among: Iterable[Host]) -> Host:
        """One of the hosts, once a trial there has a checkpoint and has half of its epochs to go."""
        hosts, found = {host.name: host for host in among}, list[Host]()

        def look() -> bool:
            self._alive()
            self.go_on()
            for trial, at in self._training().items():
                if at["host"] in hosts and 1 <= at["epoch"] <= EPOCHS // 2 and self.journal.trials[trial].checkpoints:
                    found.append(hosts[at["host"]])
            return bool(found)

        self._wait(look, f"a trial on {', '.join(hosts)}")
        return found[0]

    def _training(self) -> dict[int, dict[str, Any]]:
        """trial -> its latest report, of those that a worker has."""
        latest: dict[int, dict[str, Any]] = {}
        for event in self.events():
            if event["event"] == "report":
                latest[event["trial"]] = event
            elif event["event"] in ("loss", "end", "pause"):
                latest.pop(event["trial"], None)
            elif event["event"] == "launch":
                latest.clear()
        return latest

    # -- the faults ---------------------------------------------------------------------------------------------------

    def lose(self, fault: str, strike: Callable[[], Any], meanwhile: Callable[[], Any] = lambda: None) -> Row:
        """Strikes; waits until the journal has a loss and until each lost trial has a new checkpoint."""
        before, struck = len(self.events()), time.time()
        strike()
        wait_for(lambda: self._lost(before), 40, f"the loss by a {fault}")
        meanwhile()
        self.moved_on(lambda: self._lost(before), before)
        losses = self._lost(before)
        return self.row(fault, before, struck, min(losses.values()) - struck, len(losses))

    def moved_on(self, of: Callable[[], Iterable[int]], before: int) -> None:
        """Until each of these trials has ended an epoch since its latest start."""

        def look() -> bool:
            self._alive()
            self.go_on()
            last = {event["trial"]: event["event"] for event in self.events(before) if self._tells(event)}
            return all(last.get(trial) in ("checkpoint", "end") for trial in of())

        self._wait(look, "the trials' next epochs")

    def _tells(self, event: dict[str, Any]) -> bool:
        return event["event"] in ("loss", "start", "checkpoint", "end")

    def _lost(self, before: int) -> dict[int, float]:
        """trial -> when its loss was noticed, unix seconds."""
        return {event["trial"]: event["at"] for event in self.events(before) if event["event"] == "loss"}

    def row(self, fault: str, before: int, struck: float, noticed_s: float | None, moved: int) -> Row:
        known = {(event["trial"], event["epoch"]) for event in self.events()[:before] if event["event"] == "report"}
        new = Counter((event["trial"], event["epoch"]) for event in self.events(before) if event["event"] == "report")
        repeated = sum(count - 1 + (report in known) for report, count in new.items())
        states = Counter(trial.state for trial in self.journal.trials.values())
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        self.rows.append(Row(fault, noticed_s, moved, repeated, time.time() - struck, told))
        return self.rows[-1]

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_for(condition, PATIENCE_S, what)
        except AssertionError as error:
            last = "\n".join(map(json.dumps, self.events()[-8:]))
            raise AssertionError(f"{error}\n{last}\n{self.output.read_text()[-3000:]}") from None

    def _alive(self) -> None:
        assert self._driver is not None and self._driver.poll() is None, self.output.read_text()[-4000:]

    def fill_storage(self) -> Path:
        """The file that takes every byte that is left."""
        file, block = self.folder.parent / "filler", b"\0" * 65536
        with file.open("wb", buffering=0) as filler:
            try:
                while filler.write(block) == len(block):
                    pass
            except OSError:
                return file
        return file


def table(rows: list[Row]) -> str:
    """As docs/cluster/faults.md has it."""
    lines = [
        "| fault | noticed after s | trials moved | epochs repeated | total s | states then |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        noticed = "-" if row.noticed_s is None else f"{row.noticed_s:.1f}"
        cells = (row.fault, noticed, str(row.moved), str(row.repeated), f"{row.total_s:.1f}", row.states)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def runs(database: Path) -> dict[str, dict[str, Any]]:
    """trial id ("" the sweep's own) -> its one MLflow run: status, state, the steps of the objective."""
    found: dict[str, dict[str, Any]] = {}
    with sqlite3.connect(database) as connection:
        for run, status in connection.execute("select run_uuid, status from runs").fetchall():
            tags = dict(connection.execute("select key, value from tags where run_uuid = ?", (run,)))
            trial = tags.get("trial_id", "")
            assert trial not in found, f"trial {trial!r} has two runs"
            query = "select step from metrics where run_uuid = ? and key = 'val/map_at_r' order by step"
            steps = [step for (step,) in connection.execute(query, (run,))]
            parameters = dict(connection.execute("select key, value from params where run_uuid = ?", (run,)))
            found[trial] = {"status": status, "state": tags.get("state"), "steps": steps, "parameters": parameters}
    connection.close()
    return found


def lost_epochs(told: list[dict[str, Any]]) -> list[str]:
    """Reports that do not follow on the newest checkpoint of their trial: an epoch was lost, or trained for nothing."""
    newest: Counter[int] = Counter()
    found = []
    for event in told:
        if event["event"] == "report" and event["epoch"] != newest[event["trial"]] + 1:
            found.append(json.dumps(event))
        elif event["event"] == "checkpoint":
            newest[event["trial"]] = event["epoch"]
    return found


def leftovers(hosts: Hosts) -> list[str]:
    """Files of trials in the hosts' /tmp that nobody has any more."""
    kept = ("ray", "torchinductor_root")  # Ray's own, and a cache of torch's
    return [str(path) for host in hosts for path in host.tmp if path.name not in kept]
