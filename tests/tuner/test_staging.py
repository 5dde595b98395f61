"""Data on nodes: made once on each, a node without them is avoided, and the sweep goes on."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import yaml

from tests.tuner.test_recorder import of_ray
from tests.tuner.two_nodes import NOWHERE
from trainables import compose, trainable_group
from trainables.console import Bars
from trainables.errors import MISPLACED, DataMissing, UserError
from trainables.trainable import RetrievalTrainable
from tuner import nodes, staging
from tuner.control import Control
from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.placement import resources
from tuner.recorder import Recorder
from tuner.room import of_nodes
from tuner.scheduling.rule import EveryEpoch
from tuner.staging import Staged
from tuner.sweep import Sweep, load_sweep


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


@pytest.mark.parametrize(
    ("there", "state", "avoided", "ends"),
    [(["a"], "failed", [], ""), (["a", "b"], "pending", ["a"], ""), (["a", "b"], "pending", ["a", "b"], "failed")],
)
def test_a_node_without_data_is_avoided(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, there: list[str], state: str, avoided: list[str], ends: str
) -> None:
    listed = [{"NodeID": node, "Alive": True, "Resources": {"CPU": 1.0}} for node in there]
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


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes a, b and c, with a CPU each."""
    listed = [{"NodeID": node, "Alive": True, "Resources": {"CPU": 1.0}} for node in "abc"]
    monkeypatch.setattr(ray, "nodes", lambda: listed)
    monkeypatch.setattr(nodes, "of_ray", lambda: of_nodes(listed, None))


@pytest.mark.parametrize(
    ("without", "concurrent", "said"),
    [("", 3, ""), ("b", 2, ""), ("b", 3, "node 10.0.0.b: gone; without it: .* room for 2"),
     ("abc", 1, "no node has the data; node 10.0.0.a: gone")],
)  # fmt: skip
@pytest.mark.usefixtures("three")
def test_data_on_some_of_the_nodes(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, without: str, concurrent: int, said: str
) -> None:
    states = {
        f"10.0.0.{node}": Staged("failed", ("gone",), 0.0, node) if node in without else Staged("there", ("60",), 0.0)
        for node in "abc"
    }
    monkeypatch.setattr(staging, "stage", lambda *asked: states)
    sweep = sweep.model_copy(update={"budget": sweep.budget.model_copy(update={"concurrent": concurrent})})
    if said:
        with pytest.raises(UserError, match=said) as caught:
            nodes.prepare((), sweep, Bars(io.StringIO()))
        assert "\n" not in str(caught.value)
    else:
        found = nodes.prepare((), sweep, Bars(io.StringIO()))
        assert found == nodes.Prepared(["60"], {node: f"node 10.0.0.{node}: gone" for node in without})


@pytest.mark.parametrize(("having", "went"), [("a", ["a"]), ("b", ["a", "b"]), ("", ["a", "b", "c"])])
@pytest.mark.usefixtures("three")
def test_what_needs_data_goes_on_to_a_node_that_has_them(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, having: str, went: list[str]
) -> None:
    """Ray places it on the first node that is not passed over."""
    visited = []

    def on_one(function: Any, arguments: Any, resources: Any, data: Any, without: dict[str, str], *rest: Any) -> str:
        visited.append(next(node for node in "abc" if node not in without))
        if visited[-1] != having:
            raise DataMissing(visited[-1], "emoji: gone")
        return "done"

    monkeypatch.setattr(nodes, "_on_one", on_one)
    if having:
        assert nodes.on_some(len, (), resources=sweep.resources) == "done"
    else:
        with pytest.raises(UserError, match=r"^no node has the data; emoji: gone$"):
            nodes.on_some(len, (), resources=sweep.resources)
    assert visited == went


def test_no_bundle_is_placed_on_an_avoided_node(sweep: Sweep) -> None:
    block = sweep.resources.model_dump()
    assert resources(block) == resources(block, [])
    asked = resources(block, ["a", "b"])
    assert asked._kwargs["bundle_label_selector"] == [{"ray.io/node-id": "!in(a,b)"}]
    assert len(resources({**block, "workers": 2}, ["a"])._kwargs["bundle_label_selector"]) == 2


@pytest.mark.slow
def test_a_sweep_goes_on_where_the_data_are(sweep: Sweep, sweep_file: Path, tiny_emoji: Path) -> None:
    script = Path(__file__).with_name("two_nodes.py")
    done = subprocess.run(
        [sys.executable, str(script), str(sweep_file), str(tiny_emoji)], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sorted(found["data"].values()) == ["failed", "there"] and found["lost"] == found["data"]
    without, having = sorted(found["data"], key=lambda node: found["data"][node])
    assert [line for line in found["shown"] if line.startswith(without) and "/dev/null/nowhere" in line]
    shown = re.compile(rf"{having}: render emoji: \d+/60, [\d.]+/s, about \d+ s left")
    assert [line for line in found["shown"] if shown.fullmatch(line)], "\n".join(found["shown"])
    assert "nodes done: 1/2" in "\n".join(found["shown"])
    assert found["state"] == "finished", done.stderr
    assert set(found["trials"]) <= {"finished", "stopped"} and len(found["trials"]) == sweep.search.trials
    assert found["avoided"] == [node for node, state in found["data"].items() if state == "failed"]
    assert "nothing more is placed on node" in done.stderr


def test_staging_here_by_the_command(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tuner.__main__ import main

    assert main(["data", "stage", str(sweep_file)]) == 0
    assert capsys.readouterr().out.startswith("here  there ")
    sweep_file.write_text(yaml.safe_dump({**yaml.safe_load(sweep_file.read_text()),
                                          "train": ["dataset=csv", f"dataset.kwargs.data_dir={NOWHERE}"]}))  # fmt: skip
    assert load_sweep(sweep_file)
    assert main(["data", "stage", str(sweep_file)]) == 1
    assert "/dev/null/nowhere/images.csv is missing" in capsys.readouterr().out
