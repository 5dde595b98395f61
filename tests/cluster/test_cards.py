"""GPUs that Ray counts and nobody has: each trial sees its own, and one without memory is tried again with fewer."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.cluster import card, rays
from tests.cluster.campaign import Row
from tests.cluster.hosts import Hosts
from tests.conftest import write_emoji
from tuner.events import events
from tuner.journal import FILE, Journal

EPOCHS = 2
SWEEP = {
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


@pytest.mark.timeout(400)
def test_trials_share_cards_see_their_own_and_come_back_where_memory_ran_out(faults: list[Row]) -> None:
    with Hosts(2, prefix="card", subnet="10.95.0") as hosts:
        write_emoji(hosts.shared / "data", classes=32)
        seen = hosts.shared / "seen"
        hosts.environment |= {"ROADMAP_TUNE_DATA": str(hosts.shared / "data"), card.SEEN: str(seen)}
        head = rays.start_head(hosts[0], cpus=2)
        custom = ('--resources={"accelerator_type:A100": 1}',)
        rays.start_worker(hosts[1], head, cpus=2, gpus=1, options=custom)

        shared = {"gpu": 0.5, "custom": {"accelerator_type:A100": 0.001}}
        file = write(hosts, name="shared", resources=shared)
        said = hosts[0].run("python", "-m", "tests.cluster.card_sweep", str(file), timeout=200).stdout
        folder = hosts.shared / "runs" / "shared"
        trials = Journal.read(folder).trials
        told = list(events(folder / FILE))
        by_size = {trial.point["model.kwargs.embed_dim"]: trial for trial in trials.values()}
        assert by_size[128].state == by_size[256].state == "finished", said
        assert by_size[512].state == "infeasible" and by_size[512].reason.startswith("out of memory: CUDA"), said
        crowded = Counter(event["trial"] for event in told if event["event"] == "crowded")
        assert set(crowded.values()) == {1} and by_size[512].number in crowded, "once each"
        assert len(crowded) == 2, "0.4 and 0.7 of one card"
        assert {line.split()[0] for line in seen.read_text().splitlines()} == {"0"}
        assert {event["host"] for event in told if event["event"] == "report"} == {"card1"}

        refused = hosts[0].run(
            *("python", "-m", "tuner", "check", str(file), "--no-probe"),
            *("--set", "resources.custom={accelerator_type:H100: 1}"),
        )
        assert "accelerator_type:H100" in refused.stdout
        states = ", ".join(f"{number} {state}" for state, number in Counter(t.state for t in trials.values()).items())
        took = told[-1]["at"] - told[0]["at"]
        faults.append(Row("GPU out of memory (simulated)", None, len(crowded), 0, took, states))
