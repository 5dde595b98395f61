"""resources.workers: a trial trained by several processes, on a real Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from trainables.errors import UserError
from tuner import load_sweep
from tuner.journal import FILE, Journal, Trial
from tuner.plan import make_plan
from tuner.session import _changed

ROOT = Path(__file__).parent.parent.parent
SETTINGS = {
    "train": [
        "dataset.sampler.kwargs.batch_size=16",
        "experience.max_iter=3",
        "model.freeze_batch_norm=true",
        "loss=smoothap",  # SupAP counts exact ranks, some of them decided by rounding
    ],
    "space": {"loss.SmoothAP.tau": {"loguniform": [0.01, 0.1]}},
    "search": {"trials": 2, "sampler": "random", "seed": 1},
    "scheduler": {"name": "none"},
    "budget": {"concurrent": 1},
}


@pytest.fixture
def small(sweep_file: Path) -> Path:
    written = {**yaml.safe_load(sweep_file.read_text()), **SETTINGS}
    sweep_file.write_text(yaml.safe_dump(written))
    return sweep_file


def settings(*more: str) -> list[str]:
    return [part for setting in more for part in ("--set", setting)]


def start(sweep_file: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tuner", "run", str(sweep_file), *more],
        cwd=sweep_file.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    wait_for(lambda: not processes(process.pid), 20)
    return output


def processes(driver: int, title: str = "") -> list[psutil.Process]:
    """Ray's processes of a sweep, by the session folder in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.pid == driver or title not in line or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if f"rt-{driver}-" in line or (
                "ray::" in line and any(f"rt-{driver}-" in value for value in process.environ().values())
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_for(condition: "object", seconds: float = 150) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "it never came"
        time.sleep(0.1)


def trials(sweep_file: Path, name: str) -> dict[int, Trial]:
    return Journal.read(sweep_file.parent / "runs" / name).trials


def assert_equal_trials(found: dict[int, Trial], expected: dict[int, Trial]) -> None:
    assert sorted(found) == sorted(expected)
    for number, trial in expected.items():
        assert found[number].state == trial.state == "finished"
        assert found[number].point == trial.point
        assert sorted(found[number].reports) == sorted(trial.reports) == [1, 2, 3]
        for epoch, metrics in trial.reports.items():
            told = {key: value for key, value in found[number].reports[epoch].items() if not key.startswith("time/")}
            assert told == pytest.approx(
                {key: value for key, value in metrics.items() if not key.startswith("time/")}, abs=1e-5, rel=1e-5
            )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["budget.concurrent=4000"], "resources.workers=2 need 8000 cores, this machine has"),
        (["resources.workers=4000"], "budget.concurrent=1 trials of resources.cpu=1 with resources.workers=4000"),
        (["resources.gpu=0.5"], "with resources.workers=2 each has one whole GPU, or 0"),
        (["resources.gpu=1", "resources.workers=1000", "resources.cpu=1"], "cores, this machine has"),
        (["resources.workers=0"], "resources.workers=0"),
        (
            ["train=[loss=smoothap, dataset.sampler.kwargs.batch_size=1, dataset.sampler.kwargs.samples_per_class=1]"],
            "resources.workers=2 cannot share a batch of batch_size=1 images",
        ),
    ],
)
def test_mistakes_are_refused_before_launch(
    small: Path, more: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    with pytest.raises(UserError) as caught:
        make_plan(load_sweep(small, ["resources.workers=2", *more]))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_workers_count_in_the_cores_and_gpus_of_a_trial(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    make_plan(load_sweep(small, ["resources={cpu: 2, gpu: 1, workers: 2}", "budget.concurrent=2"]))
    with pytest.raises(UserError, match=r"budget.concurrent=1$"):
        make_plan(load_sweep(small, ["resources={cpu: 3, gpu: 1, workers: 2}", "budget.concurrent=2"]))
    with pytest.raises(UserError, match=r"resources.gpu=1 a trial with resources.workers=3, this machine has 2"):
        make_plan(load_sweep(small, ["resources={cpu: 1, gpu: 1, workers: 3}"]))


def test_a_sweep_may_go_on_with_other_workers_and_not_with_other_cores(small: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.open()
    before = load_sweep(small).model_dump(mode="json")
    del before["resources"]["workers"]  # as an earlier version wrote it
    journal.write("sweep", launch="x", trials=1, sweep=before, versions={})
    journal.close()
    assert _changed(journal, load_sweep(small, ["resources.workers=2"])) == ""
    assert _changed(journal, load_sweep(small, ["resources.cpu=2"])) == "resources"


@pytest.mark.slow
def test_two_workers_give_the_metrics_of_one_even_when_one_is_killed(small: Path) -> None:
    one = start(small, *settings("name=one", "tracking=sqlite:///one.db"))
    finish(one)
    expected = trials(small, "one")

    finish(start(small, *settings("name=two", "resources.workers=2", "tracking=sqlite:///two.db")))
    assert_equal_trials(trials(small, "two"), expected)

    killed = start(small, *settings("name=killed", "resources.workers=2", "tracking=sqlite:///killed.db"))
    journal = small.parent / "runs" / "killed" / FILE
    wait_for(lambda: journal.exists() and '"checkpoint"' in journal.read_text())
    workers = processes(killed.pid, "ray::Worker")
    assert len(workers) == 2
    workers[1].send_signal(signal.SIGKILL)
    finish(killed)
    assert_equal_trials(trials(small, "killed"), expected)
    assert len(list((small.parent / "runs" / "killed").glob("launch-1/trial-*/error.txt"))) == 1, "Ray retried a trial"


GROUP = """
import json, os, sys, tempfile, threading, time
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

folder = tempfile.mkdtemp(prefix=f"rt-{os.getpid()}-")
ray.init(num_cpus=2, num_gpus=2, _node_ip_address="127.0.0.1", _temp_dir=folder, include_dashboard=False,
         log_to_driver=False)
group = ray.util.placement_group([{"CPU": 1, "GPU": 1}] * 2)

@ray.remote(num_cpus=0)
def look(overrides):
    from trainables import compose
    from trainables.errors import ProcessLost
    from trainables.trainable_group import TrainingGroup, Workers
    workers = Workers(2)
    found = {"gpus": [worker for worker in workers.all("visible_gpus")]}
    training = TrainingGroup(compose(overrides), workers)
    training.epoch()
    training.close()
    found["usable"] = not workers.broken
    training = TrainingGroup(compose(overrides), workers)
    def kill():
        found["killed"] = time.monotonic()
        ray.kill(workers._actors[1])
    threading.Timer(1, kill).start()
    try:
        while True:
            training.epoch()
    except ProcessLost as error:
        found["lost"] = str(error)
    found["noticed"] = time.monotonic() - found["killed"]
    training.close()
    found["usable at last"] = not workers.broken
    return found

strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
print(json.dumps(ray.get(look.options(scheduling_strategy=strategy).remote(json.loads(sys.argv[1])))))
ray.shutdown()
"""


@pytest.mark.slow
def test_each_worker_sees_its_own_gpu_and_a_lost_one_is_noticed(tiny: list[str]) -> None:
    overrides = [*tiny, "experience.max_iter=100000"]
    process = subprocess.Popen(
        [sys.executable, "-c", GROUP, json.dumps(overrides)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"},
    )
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    found = json.loads(output.splitlines()[-1])
    assert sorted(found["gpus"]) == ["0", "1"]
    assert found["usable"] and not found["usable at last"]
    assert found["lost"] and found["noticed"] < 30
    wait_for(lambda: not processes(process.pid), 20)
