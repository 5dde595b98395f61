"""What a cluster does to a sweep, one fault after another while its trials train: nothing is lost, nothing is doubled.

The tests follow each other on one sweep; the last one judges all of it. The table is printed at the end of the run.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from tests.cluster import campaign as campaigns
from tests.cluster.campaign import EPOCHS, TRIAL, Campaign
from tests.cluster.hosts import Hosts, wait_for

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def campaign(faults: list[campaigns.Row]) -> Iterator[Campaign]:
    with Hosts(3, prefix="fault", subnet="10.91.0", storage_mb=400) as hosts:
        running = Campaign(hosts)
        running.start_cluster()
        running.start()
        running.rows = faults
        yield running


@dataclass(frozen=True)
class Outage:
    """before: events when it began; struck: unix seconds then; noticed: seconds until the driver said so."""

    before: int
    struck: float
    noticed: float


@pytest.fixture(scope="module")
def outage(campaign: Campaign) -> Outage:
    """MLflow is away from here on, through the next faults, until a test starts it again."""
    campaign.victim(list(campaign.hosts))
    before, struck = len(campaign.events()), time.time()
    for process in campaign.hosts[0].processes("mlflow"):
        process.kill()
    return Outage(before, struck, wait_for(lambda: campaign.said("MLflow at"), 30, "the warning"))


def test_a_worker_process_that_is_killed(campaign: Campaign, outage: Outage) -> None:
    host = campaign.victim(list(campaign.hosts))
    wait_for(lambda: host.processes(TRIAL), 10, "its process")
    [process] = host.processes(TRIAL)
    row = campaign.lose("worker process killed", process.kill)
    assert row.moved == 1 and row.noticed_s is not None and row.noticed_s < 5


def test_a_raylet_that_is_killed(campaign: Campaign) -> None:
    host = campaign.victim(list(campaign.hosts)[1:])
    [raylet] = host.processes("raylet/raylet")
    row = campaign.lose("raylet killed", raylet.kill)
    assert row.moved == 1
    wait_for(lambda: not host.processes(TRIAL), 30, "the end of the lost raylet's trials")
    host.run("ray", "stop", "--force")
    campaign.join(host)


def test_a_host_that_is_powered_off(campaign: Campaign) -> None:
    host = campaign.victim(list(campaign.hosts)[1:])
    row = campaign.lose("host powered off", host.power_off)
    assert row.moved == 1
    host.boot()
    campaign.join(host)


def test_mlflow_comes_back_after_a_minute(campaign: Campaign, outage: Outage) -> None:
    while time.time() < outage.struck + 60:
        campaign.go_on()
        time.sleep(0.3)
    assert any(event["event"] == "report" for event in campaign.events(outage.before)), "the sweep goes on"
    campaign.start_mlflow()
    campaign.reachable()
    moved = len(campaign._lost(outage.before))
    campaign.row("MLflow down for a minute, the above meanwhile", outage.before, outage.struck, outage.noticed, moved)


def test_the_storage_is_full_for_a_minute(campaign: Campaign) -> None:
    campaign.go_on()
    campaign.victim(list(campaign.hosts))
    before, struck = len(campaign.events()), time.time()
    filler = campaign.fill_storage()
    lines = ("waiting: 0.0 GB are free", "cannot be written to (No space left on device)")  # whichever comes first
    noticed = wait_for(lambda: any(map(campaign.said, lines)), 30, "the line")
    time.sleep(60)  # the fault itself
    filler.unlink()
    over = ("there is room on the disk again", "can be written to again")
    wait_for(lambda: any(map(campaign.said, over)), 10, "the end of waiting")
    campaign.moved_on(lambda: campaign._training(), before)
    campaign.row("storage full for a minute", before, struck, noticed, 0)
    assert not any(event["event"] == "loss" for event in campaign.events(before))


def test_the_storage_is_read_only_for_a_while(campaign: Campaign) -> None:
    campaign.victim(list(campaign.hosts))
    before, struck, said = len(campaign.events()), time.time(), len(campaign.output.read_text())
    with campaign.hosts.read_only(campaign.storage):
        line = "cannot be written to (Read-only file system)"
        noticed = wait_for(lambda: campaign.said(line, said), 30, "the line")
        time.sleep(20)  # the fault itself
        late = [event for event in campaign.events(before) if event["at"] > struck + 10]
        assert not any(event["event"] == "checkpoint" for event in late), "running trials wait with theirs"
    wait_for(lambda: campaign.said("can be written to again", said), 10, "the end of waiting")
    campaign.moved_on(lambda: campaign._training(), before)
    campaign.row("storage read-only for 20 s", before, struck, noticed, 0)
    assert not any(event["event"] == "loss" for event in campaign.events(before))


def test_a_host_ten_times_slower_is_not_lost(campaign: Campaign) -> None:
    host = campaign.victim(list(campaign.hosts)[1:])
    before, struck = len(campaign.events()), time.time()

    def seconds(told: list[dict[str, Any]]) -> list[float]:
        """Of epochs, of one trial or of all: from a trial's checkpoint to its next report."""
        by_trial = defaultdict(list)
        for event in told:
            by_trial[event.get("trial")].append(event)
        return [
            new["at"] - old["at"]
            for own in by_trial.values()
            for old, new in pairwise(own)
            if (old["event"], new["event"]) == ("checkpoint", "report")
        ]

    def slow() -> list[float]:
        return seconds([event for event in campaign.events(before) if event.get("trial") == trial])

    [trial, *_] = [number for number, at in campaign._training().items() if at["host"] == host.name]
    usual = median(seconds(campaign.events()))
    with host.slowed(10):
        wait_for(lambda: len(slow()) >= 3, 90, "three epochs")
    slowed = median(slow())
    campaign.row(f"host slowed: an epoch of {usual:.1f} s takes {slowed:.1f} s", before, struck, None, 0)
    assert slowed > 3 * usual and not any(event["event"] == "loss" for event in campaign.events(before))


def test_a_cable_that_is_cut_and_healed(campaign: Campaign) -> None:
    host = campaign.victim(list(campaign.hosts)[1:])
    before, struck = len(campaign.events()), time.time()
    host.cut()
    time.sleep(2)  # the fault itself
    host.heal()
    campaign.moved_on(lambda: campaign._training(), before)
    campaign.row("cable cut for 2 s", before, struck, None, 0)

    host = campaign.victim([host])
    row = campaign.lose("cable cut", host.cut, meanwhile=host.heal)
    assert row.moved == 1
    wait_for(lambda: not host.processes("raylet/raylet") and not host.processes(TRIAL), 60, "the end of its raylet")
    host.run("ray", "stop", "--force")
    campaign.join(host)


def test_a_driver_that_is_killed_and_resumed(campaign: Campaign) -> None:
    campaign.victim(list(campaign.hosts)[1:])
    before, struck, running = len(campaign.events()), time.time(), list(campaign._training())
    campaign.kill_driver()
    gone = wait_for(lambda: not any(host.processes(TRIAL) for host in campaign.hosts), 30, "the end of its trials")
    campaign.start()
    wait_for(lambda: len(campaign.journal.launches) == 2, 60, "the second launch")
    campaign.moved_on(lambda: running, before)
    campaign.row("driver killed, resumed", before, struck, gone, len(running))


def test_a_head_that_is_rebooted_and_resumed_from_storage(campaign: Campaign) -> None:
    hosts = list(campaign.hosts)
    campaign.victim(hosts)
    before, struck, running = len(campaign.events()), time.time(), list(campaign._training())
    hosts[0].power_off()
    for host in hosts[1:]:
        host.run("ray", "stop", "--force")
    hosts[0].boot()
    campaign.start_cluster()
    campaign.start()
    wait_for(lambda: len(campaign.journal.launches) == 3, 60, "the third launch")
    campaign.moved_on(lambda: running, before)
    campaign.row("head rebooted, resumed", before, struck, None, len(running))


def test_after_all_of_it_every_trial_is_whole(campaign: Campaign) -> None:
    campaign.finish()
    journal = campaign.journal
    assert journal.complete and journal.launches[-1].state == "finished"
    for trial in journal.trials.values():
        assert trial.state == "finished" and sorted(trial.reports) == list(range(1, EPOCHS + 1))
    assert campaigns.lost_epochs(campaign.events()) == []

    told = campaigns.runs(campaign.database)
    assert sorted(told) == ["", *(trial.id for trial in journal.trials.values())]
    for trial in journal.trials.values():
        run = told[trial.id]
        assert (run["status"], run["state"]) == ("FINISHED", "finished") and run["steps"] == list(range(1, EPOCHS + 1))
        assert {key: float(value) for key, value in run["parameters"].items()} == trial.point

    kept = {
        trial.checkpoints[best[0]] for trial in journal.trials.values() if (best := trial.best("val/map_at_r", "max"))
    }
    assert {str(path) for path in campaign.folder.glob("launch-*/trial-*/checkpoint_*")} == kept
    wait_for(lambda: not any(host.processes(TRIAL) for host in campaign.hosts), 30, "the end of all trials")
    assert campaigns.leftovers(campaign.hosts) == []
