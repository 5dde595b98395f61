"""A sealed process gets no test split by any public way; each try is in a process of its own, which stays sealed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.data import sealing
from trainables.registry import DATASETS

TRIES = """
import json, sys
from trainables import Training, compose
from trainables.commands import evaluate
from trainables.console import Bars
from trainables.data import TestSplitSealed, image_sets, seal_test_splits
from trainables.building import build_dataset
from pathlib import Path

overrides, checkpoint = json.loads(sys.argv[1]), Path(sys.argv[2])
training = Training(compose(overrides))
training.epoch()
training.save(checkpoint)
assert training.test_splits()
seal_test_splits()
seal_test_splits()
dataset = build_dataset(training.experiment)
hostile = [*overrides, "experience.test_eval_freq=1"]
tries = {
    "the data set": lambda: dataset.test(),
    "every set of images": lambda: image_sets(dataset),
    "the training": lambda: training.test_splits(),
    "evaluate": lambda: evaluate(checkpoint, "test", [], Bars(sys.stderr)),
    "an experiment that tests": lambda: Training(compose(hostile)),
}
passed = []
for name, attempt in tries.items():
    try:
        attempt()
        passed.append(name)
    except TestSplitSealed as error:
        assert "emoji is sealed" in str(error), error
assert not passed, passed
assert Training(compose(overrides)).epoch().metrics["val/map_at_r"] > 0
"""

FORKED = """
import multiprocessing, sys
from trainables.data import Emoji, TestSplitSealed, seal_test_splits

def attempt(queue):
    try:
        queue.put(len(Emoji().test()))
    except TestSplitSealed:
        queue.put("sealed")

seal_test_splits()
fork = multiprocessing.get_context("fork")
queue = fork.Queue()
child = fork.Process(target=attempt, args=(queue,))
child.start()
assert queue.get(timeout=30) == "sealed"
child.join()
"""

TRIAL = """
import json, sys
from trainables import compose
from trainables.data import Emoji, TestSplitSealed
from trainables.trainable import RetrievalTrainable

hostile = compose([*json.loads(sys.argv[1]), "experience.test_eval_freq=1"])
config = {"number": 1, "experiment": hostile.model_dump_json(), "resume_from": None, "scheduled": False, "workers": 1,
          "refused": None}
trial = RetrievalTrainable(config)
result = trial.train()
assert result["state"] == "failed" and "TestSplitSealed" in result["reason"], result
try:
    Emoji().test()
except TestSplitSealed:
    print("sealed")
"""


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_public_way_leads_to_the_test_split(tiny: list[str], tmp_path: Path) -> None:
    run(TRIES, json.dumps(tiny), str(tmp_path / "training.ckpt"))


def test_the_loaders_processes_are_born_sealed(tiny: list[str]) -> None:
    run(FORKED)


def test_a_trial_seals_its_process_and_a_hostile_experiment_fails(tiny: list[str]) -> None:
    assert "sealed" in run(TRIAL, json.dumps(tiny))


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_asks_before_it_opens_a_file(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROADMAP_TUNE_DATA", str(tmp_path))
    monkeypatch.setitem(sealing._state, "sealed", True)
    with pytest.raises(sealing.TestSplitSealed, match="is sealed"):
        DATASETS[name]().test()
