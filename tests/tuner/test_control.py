"""What a launch does between two events: requests, budget, room on the disk, causes alike. No Ray."""

import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tuner import budget, requests
from tuner import control as controls
from tuner.board import Board
from tuner.control import Control, alike
from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.journal import Journal, Trial
from tuner.plan import make_plan
from tuner.room import Machine, Room
from tuner.sweep import Sweep, load_sweep

Usage = namedtuple("Usage", "total used free")


@dataclass
class Told:
    """In place of MLflow's tracker: takes everything."""

    ended: list[tuple[str, str]] = field(default_factory=list)

    def end_trial(self, trial: str, state: str, reason: str, best: dict[str, float], at: float) -> None:
        self.ended.append((trial, state))


@pytest.fixture
def launch(sweep_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Control]]:
    """A control over an open journal with a header, a launch and three trials that were drawn."""
    monkeypatch.setattr(controls, "SECONDS_BETWEEN_LOOKS", 0.0)
    opened = []

    def make(*settings: str) -> Control:
        plan = make_plan(load_sweep(sweep_file, settings))
        journal = Journal(plan.sweep.folder)
        journal.open()
        opened.append(journal)
        journal.write("sweep", trials=plan.trials, epochs=plan.epochs, sweep=plan.sweep.model_dump(mode="json"))
        journal.write("launch", host="here", pid=1)
        for number in range(3):
            journal.write("point", trial=number, point=plan.defaults)
        desk = Desk(plan, journal, Told(), Board(plan.sweep, plan.trials, plan.epochs, []))  # type: ignore[arg-type]
        return Control(desk, Interruption())

    yield make
    for journal in opened:
        journal.close()


def asked(control: Control, kind: str, **values: object) -> str:
    """What the control says to a request."""
    folder = control._desk.journal.folder
    identity = requests.ask(folder, kind, **values)
    try:
        control.act()
    finally:
        said = requests.answer(folder, identity, 1)
    assert said is not None and not list((folder / requests.FOLDER).iterdir())
    return said


def follow(control: Control, *running: int) -> None:
    control.follow(live=set(running), running=set(running))


def test_no_more_than_concurrent_have_a_worker(launch: Callable[..., Control]) -> None:
    control = launch()
    left = control.left(paused=())
    assert left is not None and left.number == 0 and control.may_start()
    control.given(0)
    control.given(1)
    assert not control.may_start()
    # one that its scheduler lets wait has no worker, and is not given a second time
    control.follow(live={1}, running={1})
    left = control.left(paused={0})
    assert control.may_start() and left is not None and left.number == 2


def test_concurrent_changes_while_it_runs(launch: Callable[..., Control], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.plan.cores", lambda: 3)
    control = launch()
    follow(control, 0, 1)
    assert asked(control, "concurrent", number=3) == "3 at a time from now on" and control.may_start()
    assert asked(control, "concurrent", number=4).startswith("refused: budget.concurrent=4")
    follow(control, 0, 1, 2)
    assert not control.may_start()


def test_a_running_sweep_changes_while_mlflow_is_away(launch: Callable[..., Control]) -> None:
    control = launch()
    sweep = control._desk.plan.sweep.model_copy(update={"tracking": "http://127.0.0.1:9"})
    control._desk.plan = replace(control._desk.plan, sweep=sweep)
    assert asked(control, "extend", trials=2, hours=0.0, gpu_hours=0.0) == f"{control._desk.plan.trials} trials now"
    assert asked(control, "concurrent", number=1) == "1 at a time from now on"


def test_on_a_cluster_its_room_counts_and_not_the_heads(
    launch: Callable[..., Control], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head may have no cores for trials at all."""
    control = launch("search.trials=40")
    nodes = Room((Machine(16, 0), Machine(16, 0)))
    control._desk.change(replace(control._desk.plan, room=nodes))
    monkeypatch.setattr(controls.room, "of_ray", lambda: nodes)
    monkeypatch.setattr("tuner.plan.cores", lambda: 0)
    assert asked(control, "concurrent", number=32) == "32 at a time from now on"
    assert "the cluster has room for 32; it is 2 x 16 CPUs" in asked(control, "concurrent", number=33)
    assert asked(control, "extend", trials=2, hours=0.0, gpu_hours=0.0) == "42 trials now"
    assert control._desk.plan.room == nodes


def test_stop_waits_for_each_running_trial_once(launch: Callable[..., Control]) -> None:
    control = launch()
    follow(control, 0, 2)
    assert asked(control, "stop", now=False) == "trials 0000, 0002 end their epochs first"
    assert not control.may_start()
    control.checkpointed(0)
    control.act()
    follow(control, 0)  # trial 2 has ended
    with pytest.raises(KeyboardInterrupt):
        control.act()
    assert control.state == "interrupted"


def test_stop_now_waits_for_none(launch: Callable[..., Control]) -> None:
    control = launch()
    follow(control, 0)
    assert asked(control, "stop", now=True) == "ends at once"
    with pytest.raises(KeyboardInterrupt):
        control.act()


def test_more_trials_and_another_try(launch: Callable[..., Control]) -> None:
    control = launch()
    journal = control._desk.journal
    assert journal.planned == 6
    assert asked(control, "extend", trials=2, hours=0.0, gpu_hours=0.0) == "8 trials now"
    assert journal.planned == control._desk.plan.trials == 8
    assert asked(control, "extend", trials=0, hours=1.0, gpu_hours=0.0).startswith("refused: budget.hours sets no")
    assert asked(control, "retry", states=["failed"]) == "refused: no trial is failed"
    control._desk.ended(1, "failed", "a bug")
    assert journal.trials[1].ended
    assert asked(control, "retry", states=["failed", "lost"]) == "1 trials go on"
    assert journal.trials[1].state == "pending" and journal.trials[1].reason == ""


def test_it_waits_for_room_on_the_disk_and_says_so_once(
    launch: Callable[..., Control], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    control = launch()
    free = 1.0e9
    monkeypatch.setattr(budget.shutil, "disk_usage", lambda folder: Usage(0, 0, free))
    control.act()
    control.act()
    assert not control.may_start()
    assert capsys.readouterr().err.count("waiting: 1.0 GB are free") == 1
    free = 3.0e9
    control.act()
    assert control.may_start() and "room on the disk" in capsys.readouterr().err


def test_the_hours_of_all_launches_are_used_up(launch: Callable[..., Control]) -> None:
    control = launch("budget.hours=2")
    journal = control._desk.journal
    now = time.time()
    journal.launches[-1].began = now - 1.5 * 3600
    journal.write("left", state="interrupted", reason="")
    journal.write("launch", host="here", pid=2)
    follow(control, 0)
    control.act()
    assert control.state == ""
    journal.launches[-1].began -= 0.6 * 3600
    control.act()
    assert control.state == "stopped" and control.reason == "budget.hours=2 are used up"
    journal.write("extend", trials=0, planned=0, hours=1.0, gpu_hours=0.0)
    assert budget.exhausted(journal, control._desk.plan.sweep, time.time()) == ""


def test_gpu_hours_are_the_time_that_workers_had_trials(sweep: Sweep, tmp_path: Path) -> None:
    resources = sweep.resources.model_copy(update={"gpu": 0.5, "workers": 1})
    limits = sweep.budget.model_copy(update={"gpu_hours": 1.0})
    sweep = sweep.model_copy(update={"resources": resources, "budget": limits})
    journal = Journal(tmp_path)
    # at: 0 s started, 1,000 s a report, killed; 5,000 s again, a report at 6,000 s, paused until 9,000 s
    for at, event in [(0, "start"), (1000, "report"), (4000, "launch"), (5000, "start"), (6000, "report"),
                      (6000, "pause"), (9000, "start")]:  # fmt: skip
        values = {"trial": 0} if event != "launch" else {"host": "here", "pid": 1}
        journal.trials.setdefault(0, Trial(0, {}))
        journal._follow({"event": event, "at": at, "epoch": at, "metrics": {}, **values})
    assert budget.gpu_hours(journal, sweep) == pytest.approx(0.5 * 2000 / 3600)
    assert budget.gpu_hours(journal, sweep, 9600) == pytest.approx(0.5 * 2600 / 3600)
    assert budget.exhausted(journal, sweep, 9600) == "" != budget.exhausted(journal, sweep, 9000 + 5201)


def ended(*ends: tuple[str, str], reports: int = 0) -> dict[int, Trial]:
    trials = {}
    for number, (state, reason) in enumerate(ends):
        trials[number] = Trial(number, {}, state, reason, {epoch: {} for epoch in range(1, reports + 1)})
    return trials


@pytest.mark.parametrize(
    ("trials", "cause"),
    [
        (ended(("failed", "a 1"), ("failed", "a 2.5e-3"), ("infeasible", "a 7")), "a 1"),
        (ended(("failed", "a"), ("failed", "b"), ("failed", "a")), ""),
        (ended(("infeasible", "a")), ""),
        (ended(("failed", "a"), ("failed", "a"), ("finished", "a")), ""),
        (ended(("failed", "a"), ("failed", "a"), ("failed", "a"), reports=1), ""),
        (ended(("failed", "a"), ("failed", "a"), ("running", "")), ""),
    ],
)
def test_first_trials_that_fail_alike(trials: dict[int, Trial], cause: str) -> None:
    assert alike(trials) == cause


def test_a_sweep_whose_first_trials_fail_alike_ends_before_the_next_starts(
    launch: Callable[..., Control], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "SECONDS_BETWEEN_LOOKS", 1000.0)
    control = launch()
    for number in range(3):
        control.act()
        control._desk.ended(number, "failed", f"ValueError: {number} things")
    with pytest.raises(KeyboardInterrupt):
        control.act()
    assert control.state == "failed"
    assert control.reason == "the first 3 trials failed alike: ValueError: 0 things"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"kind": "__init__", "values": {}}', "refused: unknown request '__init__'"),
        ('{"kind": "stop", "values": {"later": 1}}', "refused: "),
        ("no JSON", "refused: unknown request ''"),
    ],
)
def test_a_request_that_nobody_could_have_asked_is_refused(
    launch: Callable[..., Control], content: str, said: str
) -> None:
    control = launch()
    folder = control._desk.journal.folder
    (folder / requests.FOLDER).mkdir()
    (folder / requests.FOLDER / "one.json").write_text(content)
    control.act()
    answer = requests.answer(folder, "one", 1)
    assert answer is not None and answer.startswith(said) and not control.state
