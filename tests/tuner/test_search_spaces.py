"""The sweep files that ship: each loads and plans on a machine that is large enough, without its data set."""

import os
import re
import shlex
from pathlib import Path

import pytest
import torch

from trainables import compose
from tuner import load_sweep
from tuner.__main__ import main
from tuner.plan import make_plan

FOLDER = Path(__file__).parent.parent.parent / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))
README = (FOLDER / "README.md").read_text()


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of eight GPUs that has none of the data."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_can_be_launched_and_nothing_is_to_be_thought_over(file: Path, tmp_path: Path) -> None:
    """No preset outside of its range, no rung that stops nothing, no more values than the trials can carry."""
    plan = make_plan(load_sweep(file))
    assert plan.warnings == ()
    assert plan.sweep.name == file.stem
    assert not list(tmp_path.iterdir()), "a check writes nothing"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_says_what_it_asks_what_it_costs_and_what_it_found(file: Path) -> None:
    header = "".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("# "))
    assert "?" in header.splitlines()[0] and "\n# Costs" in header and "\n# Found" in header, header
    assert re.search(rf"^\| {file.name} \|", README, flags=re.MULTILINE), "a row of the README's table"


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_trial_0_trains_what_the_groups_alone_would(file: Path) -> None:
    sweep = load_sweep(file)
    assert make_plan(sweep).base == compose(sweep.fixed())


@pytest.mark.usefixtures("large")
def test_what_a_header_lays_over_can_be_launched_too() -> None:
    found = [
        (file, shlex.split(line)) for file in FILES for line in re.findall(r"^# +(--set .*)$", file.read_text(), re.M)
    ]
    assert found
    for file, words in found:
        plan = make_plan(load_sweep(file, [word for word in words if word != "--set"]))
        assert plan.warnings == () and plan.sweep.name != file.stem


def test_a_small_machine_can_check_what_it_cannot_launch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    file = str(FOLDER / "inat_roadmap.yaml")
    assert main(["check", file]) == 0
    said = capsys.readouterr().out.splitlines()
    few = "warning: it cannot be launched on this machine: "
    assert f"{few}resources.gpu=1 a trial with resources.workers=4, this machine has 0" in said
    assert any(line.startswith(few) and line.endswith("need 64 cores, this machine has 2") for line in said)
    assert "epochs: 1,530 at most; time and disk cannot be measured: this machine has no GPU" in said
    assert main(["run", file]) == 2
