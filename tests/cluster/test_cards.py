"""GPUs that Ray counts and nobody has: each trial sees its own, and one without memory is tried again with fewer."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import card, rays
from tests.cluster.campaign import Row
from tests.cluster.hosts import YIELDING, Hosts
from tests.conftest import write_emoji
from tuner.events import events
from tuner.journal import FILE, Journal

EPOCHS = 2
SWEEP: dict[str, Any] = {
    "name": "cards",
    "goal": "share cards",
    "train": ["dataset.sampler.kwargs.batch_size=16", f"experience.max_iter={EPOCHS}"],
    "space": {"model.kwargs.embed_dim": {"choice": [128, 256, 512]}},
    "search": {"trials": 3, "sampler": "grid"},
    "scheduler": {"name": "none"},
    "validation": {"fraction": 0.34},
    "budget": {"concurrent": 2, "free_gb": 0.0},
}


def write(hosts: Hosts, **values: object) -> Path:
    file = hosts.shared / f"{values['name']}.yaml"
    place = {"storage": str(hosts.shared / "runs"), "tracking": f"sqlite:///{hosts.shared}/mlflow.db"}
    file.write_text(yaml.safe_dump({**SWEEP, **place, **values}))
    return file


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """A head without a card, card1 with one of a kind of its own, card2 with two."""
    with Hosts(3, prefix="card", subnet="10.95.0", nice=YIELDING) as hosts:
        write_emoji(hosts.shared / "data", classes=32)
        hosts.environment |= {"ROADMAP_TUNE_DATA": str(hosts.shared / "data"), card.SEEN: str(hosts.shared / "seen")}
        head = rays.start_head(hosts[0], cpus=2)
        custom = ('--resources={"accelerator_type:A100": 1}',)
        rays.start_worker(hosts[1], head, cpus=2, gpus=1, options=custom)
        rays.start_worker(hosts[2], head, cpus=2, gpus=2)
        yield hosts


def swept(hosts: Hosts, file: Path) -> tuple[Journal, str]:
    """The sweep's journal, and what it said."""
    said = hosts[0].run("python", "-m", "tests.cluster.card_sweep", str(file), timeout=200).stdout
    return Journal.read(hosts.shared / "runs" / file.stem), said


def seen(hosts: Hosts, dimensions: int) -> set[tuple[str, str]]:
    """(host, device) of every epoch of a training with so many dimensions."""
    lines = [line.split() for line in (hosts.shared / "seen").read_text().splitlines()]
    return {(host, device) for host, device, of in lines if int(of) == dimensions}


@pytest.mark.timeout(400)
def test_trials_share_cards_see_their_own_and_come_back_where_memory_ran_out(hosts: Hosts, faults: list[Row]) -> None:
    shared = {"gpu": 0.5, "custom": {"accelerator_type:A100": 0.001}}
    file = write(hosts, name="shared", resources=shared)
    journal, said = swept(hosts, file)
    trials, told = journal.trials, list(events(journal.folder / FILE))
    by_size = {trial.point["model.kwargs.embed_dim"]: trial for trial in trials.values()}
    assert by_size[128].state == by_size[256].state == "finished", said
    assert by_size[512].state == "infeasible" and by_size[512].reason.startswith("out of memory: CUDA"), said
    crowded = Counter(event["trial"] for event in told if event["event"] == "crowded")
    assert set(crowded.values()) == {1} and by_size[512].number in crowded, "once each"
    assert len(crowded) == 2, "0.4 and 0.7 of one card"
    assert seen(hosts, 128) == seen(hosts, 256) == {("card1", "0")}
    assert {event["host"] for event in told if event["event"] == "report"} == {"card1"}

    states = ", ".join(f"{number} {state}" for state, number in Counter(t.state for t in trials.values()).items())
    took = told[-1]["at"] - told[0]["at"]
    faults.append(Row("GPU out of memory (simulated)", None, len(crowded), 0, took, states))


@pytest.mark.full
def test_a_card_that_no_node_has_is_said(hosts: Hosts) -> None:
    file = write(hosts, name="other", resources={"gpu": 0.5, "custom": {"accelerator_type:H100": 1}})
    told = hosts[0].run("python", "-m", "tuner", "check", str(file), "--no-probe")
    assert "accelerator_type:H100" in told.stdout


@pytest.mark.full
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("workers", "dimensions", "places"),
    [
        (2, 64, {("card2", "0"), ("card2", "1")}),
        (3, 96, {("card1", "0"), ("card2", "0"), ("card2", "1")}),
    ],
)
def test_a_trial_of_several_cards_is_on_one_node_where_it_fits(
    hosts: Hosts, workers: int, dimensions: int, places: set[tuple[str, str]]
) -> None:
    train = [*SWEEP["train"], f"model.kwargs.embed_dim={dimensions}", "dataset.sampler.kwargs.batch_size=24"]
    file = write(
        hosts,
        name=f"on-{workers}",
        train=train,
        space={"loss.SupAP.tau": {"loguniform": [0.001, 0.1]}},
        search={"trials": 2, "sampler": "random", "seed": 1},
        resources={"gpu": 1, "workers": workers},
        budget={"concurrent": 1, "free_gb": 0.0},
    )
    journal, said = swept(hosts, file)
    assert [trial.state for trial in journal.trials.values()] == ["finished"] * 2, said
    assert seen(hosts, dimensions) == places
