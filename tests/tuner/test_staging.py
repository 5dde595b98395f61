"""Data on nodes: made once on each, a node without them is avoided, and the sweep goes on."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import yaml

from tests.tuner.test_recorder import Silent, of_ray
from trainables import compose, trainable_group
from trainables.errors import MISPLACED, DataMissing, UserError
from trainables.trainable import RetrievalTrainable
from tuner import cluster, runner, staging
from tuner.board import Board
from tuner.control import Control
from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.journal import Journal
from tuner.placement import resources
from tuner.plan import make_plan
from tuner.recorder import Recorder
from tuner.scheduling.rule import EveryEpoch
from tuner.simulation.replay import Recorded, ReplayTrainable
from tuner.sweep import Sweep, load_sweep

NOWHERE = "/dev/null/nowhere"  # nothing can be built there, not even by root


@pytest.mark.parametrize(("does", "state"), [("build", "built"), ("nothing", "there"), ("fail", "failed")])
def test_what_became_of_the_data_here(monkeypatch: pytest.MonkeyPatch, does: str, state: str) -> None:
    def prepare(experiments: Any, progress: Callable[[str, int, int], None]) -> list[str]:
        if does == "build":
            progress("cache images", 1, 2)
        if does == "fail":
            raise UserError("sop: /data/sop is missing")
        return ["120 images"]

    monkeypatch.setattr(staging, "prepare_data", prepare)
    staged = staging.stage_here((), lambda *sign: None)
    assert (staged.state, staged.told) == (state, ("sop: /data/sop is missing",) if does == "fail" else ("120 images",))


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> RetrievalTrainable:
    context = SimpleNamespace(get_node_id=lambda: "f00d")
    monkeypatch.setattr(trainable_group.ray, "get_runtime_context", lambda: context)
    made = object.__new__(RetrievalTrainable)
    made._training = made._workers = None
    return made


def config(*overrides: str) -> dict[str, Any]:
    experiment = compose([*overrides, "dataset.sampler.kwargs.batch_size=16", "experience.test_eval_freq=-1"])
    return {"experiment": experiment.model_dump_json(), "refused": None, "resume_from": None, "scheduled": False,
            "workers": 1}  # fmt: skip


def test_a_trial_says_that_its_node_has_no_data(trial: RetrievalTrainable) -> None:
    trial._config = config(f"dataset.kwargs.data_dir={NOWHERE}")
    said = trial.step()
    assert (said["state"], said["node"], said["epoch"]) == (MISPLACED, "f00d", 0)
    assert said["reason"].startswith("data not on this node: emoji: /dev/null/nowhere/") and "\n" not in said["reason"]


def test_a_bug_is_no_matter_of_data(trial: RetrievalTrainable, tiny: list[str]) -> None:
    trial._config = config(*tiny, "experience.holdout=0.0001")
    assert trial.step()["state"] == "failed"


def test_data_missing_travels_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(DataMissing("f00d", "gone")))
    assert (error.node, error.reason) == ("f00d", "gone")


@pytest.fixture
def desk(sweep: Sweep) -> Iterator[Desk]:
    plan = make_plan(sweep)
    journal = Journal(sweep.folder)
    journal.open()
    journal.write("sweep", trials=plan.trials, epochs=plan.epochs)
    journal.write("launch", host="here", pid=1)
    journal.write("point", trial=0, point=plan.defaults)
    yield Desk(plan, journal, Silent(), Board(sweep, plan.trials, plan.epochs, []))  # type: ignore[arg-type]
    journal.close()


@pytest.mark.parametrize(
    ("nodes", "state", "avoided", "ends"),
    [(["a"], "failed", [], ""), (["a", "b"], "pending", ["a"], ""), (["a", "b"], "pending", ["a", "b"], "failed")],
)
def test_a_node_without_data_is_avoided(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, nodes: list[str], state: str, avoided: list[str], ends: str
) -> None:
    listed = [{"NodeID": node, "Alive": True, "Resources": {"CPU": 1.0}} for node in nodes]
    monkeypatch.setattr(ray, "nodes", lambda: listed)
    control = Control(desk, Interruption())
    recorder = Recorder(desk, EveryEpoch("max", desk.plan.epochs), control)
    for node in avoided or ["a"]:
        recorder.on_trial_start(0, [], of_ray())
        recorder.on_trial_complete(
            0, [], of_ray(state=MISPLACED, reason="data not on this node: x", node=node, epoch=0)
        )
    assert (desk.journal.trials[0].state, sorted(control.avoided), control.state) == (state, avoided, ends)
    assert not ends or control.reason == "no node has the data: data not on this node: x"


def test_no_bundle_is_placed_on_an_avoided_node(sweep: Sweep) -> None:
    block = sweep.resources.model_dump()
    assert resources(block) == resources(block, [])
    asked = resources(block, ["a", "b"])
    assert asked._kwargs["bundle_label_selector"] == [{"ray.io/node-id": "!in(a,b)"}]
    assert len(resources({**block, "workers": 2}, ["a"])._kwargs["bundle_label_selector"]) == 2


class Elsewhere(ReplayTrainable):
    """Replays, but where its node has no data."""

    def step(self) -> dict[str, Any]:
        if os.environ["ROADMAP_TUNE_DATA"] != NOWHERE:
            return super().step()
        node = ray.get_runtime_context().get_node_id()
        return {"epoch": 0, "state": MISPLACED, "reason": "data not on this node", "node": node, "reported": [],
                "done": True}  # fmt: skip


@pytest.fixture
def two_nodes(tiny_emoji: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """A Ray of two nodes on loopback, each of two cores; the second one has no data."""
    from ray.cluster_utils import Cluster

    cluster.prepare_environment(sweep)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else they starve on a busy machine
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # as this process found it when it imported Ray
    folder = tempfile.mkdtemp(prefix="rt-")  # short: a socket's path
    monkeypatch.setenv("RAY_TMPDIR", folder)  # where Ray's test cluster leaves its address
    (Path(folder) / "ray").mkdir()
    with cluster.loopback_alone():
        nodes = Cluster()
        try:
            for root in (str(tiny_emoji), NOWHERE):
                place = {} if nodes.head_node else {"temp_dir": folder}
                nodes.add_node(num_cpus=2, include_dashboard=False, env_vars={"ROADMAP_TUNE_DATA": root}, **place)
            ray.init(address=nodes.address, log_to_driver=False)
            yield sweep
        finally:
            ray.shutdown()
            nodes.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_sweep_goes_on_where_the_data_are(
    two_nodes: Sweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(two_nodes, here=False)
    listed = sorted(ray.nodes(), key=lambda node: node["NodeManagerPort"])
    monkeypatch.setattr(ray, "nodes", lambda: [{**one, "NodeManagerAddress": one["NodeID"]} for one in listed])
    states = {
        node: staged.state
        for node, staged in staging.stage(plan.data, plan.sweep.resources, lambda *sign: None).items()
    }
    assert sorted(states.values()) == ["failed", "there"]
    from ray import cloudpickle, tune

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    journal = Journal(two_nodes.folder)
    journal.open()
    try:
        journal.write("sweep", **runner.header(plan))
        board = Board(two_nodes, plan.trials, plan.epochs, [], sys.stderr)
        recorded = Recorded("val/map_at_r", (tuple(0.1 * epoch for epoch in range(1, plan.epochs + 1)),), (), 0.3)
        outcome = runner.launch(plan, journal, board, tune.with_parameters(Elsewhere, recorded=recorded))
    finally:
        journal.close()
    assert outcome.state == "finished"
    trials = Journal.read(two_nodes.folder).trials
    assert {trial.state for trial in trials.values()} <= {"finished", "stopped"} and len(trials) == plan.trials
    events = [json.loads(line) for line in (two_nodes.folder / "journal.jsonl").read_text().splitlines()]
    avoided = [event["node"] for event in events if event["event"] == "avoid"]
    assert avoided == [node for node, state in states.items() if state == "failed"]
    assert "nothing more is placed on node" in capsys.readouterr().err


def test_staging_here_by_the_command(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tuner.__main__ import main

    assert main(["data", "stage", str(sweep_file)]) == 0
    assert capsys.readouterr().out.startswith("here  there ")
    sweep_file.write_text(yaml.safe_dump({**yaml.safe_load(sweep_file.read_text()),
                                          "train": ["dataset=csv", f"dataset.kwargs.data_dir={NOWHERE}"]}))  # fmt: skip
    assert load_sweep(sweep_file)
    assert main(["data", "stage", str(sweep_file)]) == 1
    assert "/dev/null/nowhere/images.csv is missing" in capsys.readouterr().out
