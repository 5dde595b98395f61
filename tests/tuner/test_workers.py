"""resources.workers: a trial trained by several processes, on a real Ray."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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


@pytest.fixture
def start(small: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a sweep of the small file; whatever runs when the test ends is interrupted."""
    started = []

    def run(*settings: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner", "run", str(small), *(f"--set={setting}" for setting in settings)],
            cwd=small.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    wait_for(lambda: not processes(process.pid), 20)
    return output


def processes(driver: int, title: str = "") -> list[psutil.Process]:
    """Ray's processes of a sweep: those that name its session folder, and their children."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != driver and f"rt-{driver}-" in " ".join(process.cmdline()):
                found |= {one.pid: one for one in [process, *process.children(recursive=True)]}
    return [process for process in found.values() if alive(process) and title in " ".join(process.cmdline())]


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def wait_for(condition: Callable[[], bool], seconds: float = 150) -> None:
    until = time.monotonic() + seconds
    while not condition():
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
            told = {
                key: value
                for key, value in found[number].reports[epoch].items()
                if not key.startswith(("time/", "system/"))
            }
            assert told == pytest.approx(
                {key: value for key, value in metrics.items() if not key.startswith(("time/", "system/"))},
                abs=1e-5,
                rel=1e-5,
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
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    make_plan(load_sweep(small, ["resources={cpu: 2, gpu: 1, workers: 2}", "budget.concurrent=2"]))
    with pytest.raises(UserError, match=r"budget.concurrent=1$"):
        make_plan(load_sweep(small, ["resources={cpu: 3, gpu: 1, workers: 2}", "budget.concurrent=2"]))
    with pytest.raises(UserError, match=r"resources.gpu=1 a trial with resources.workers=5, this machine has 4"):
        make_plan(load_sweep(small, ["resources={cpu: 1, gpu: 1, workers: 5}"]))


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
def test_two_workers_one_of_them_killed_give_the_metrics_of_one(
    small: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    finish(start("name=one", "tracking=sqlite:///one.db"))
    expected = trials(small, "one")

    killed = start("name=killed", "resources.workers=2", "tracking=sqlite:///killed.db")
    folder = small.parent / "runs" / "killed"
    wait_for(lambda: (folder / FILE).exists() and '"checkpoint"' in (folder / FILE).read_text())
    workers = processes(killed.pid, "ray::Worker")
    assert len(workers) == 2
    seen = processes(killed.pid)
    workers[1].kill()
    finish(killed)
    assert_equal_trials(trials(small, "killed"), expected)
    assert len(list(folder.glob("launch-1/trial-*/error.txt"))) == 1, "Ray started a trial again"
    wait_for(lambda: not any(alive(process) for process in seen), 10)


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
