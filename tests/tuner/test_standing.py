"""Where a sweep stands, from its folder; which checkpoints stay in it."""

import os
import platform
import time
from pathlib import Path

import pytest

from trainables.errors import UserError
from tuner import amendments, retention
from tuner.journal import FILE, Journal, traceback_file
from tuner.lease import SILENT_S
from tuner.overview import status_lines
from tuner.plan import make_plan
from tuner.session import check_folder
from tuner.standing import Standing, located
from tuner.sweep import Sweep, load_sweep


def launched(sweep: Sweep, host: str = "") -> Journal:
    journal = Journal(sweep.folder)
    journal.open()
    journal.write("sweep", trials=6, epochs=4, sweep=sweep.model_dump(mode="json"))
    journal.write("launch", host=host or platform.node(), pid=77)
    journal.write("point", trial=0, point={})
    journal.write("start", trial=0)
    return journal


def test_a_driver_here_is_seen_by_its_lock(sweep: Sweep) -> None:
    journal = launched(sweep)
    assert Standing.of(sweep.folder).running
    assert f"running on {platform.node()} (pid 77), last event" in Standing.of(sweep.folder).words()
    journal.close()
    gone = Standing.of(sweep.folder)
    assert not gone.running and "nothing was heard of its driver" in gone.words()
    assert gone.journal.trials[0].state == "pending"


def test_a_driver_elsewhere_is_seen_by_its_signs_of_life(sweep: Sweep) -> None:
    launched(sweep, "elsewhere").close()
    assert Standing.of(sweep.folder).running
    with pytest.raises(UserError, match=r"is running on elsewhere \(pid 77\)"):
        check_folder(sweep, resume=True, fresh=False)
    old = time.time() - SILENT_S - 1
    os.utime(sweep.folder / FILE, (old, old))
    assert not Standing.of(sweep.folder).running


def test_a_driver_that_was_silent_and_speaks_again(sweep: Sweep) -> None:
    """Silence is no event: trials that seemed to wait run again, and what came meanwhile is known."""
    journal = launched(sweep, "elsewhere")
    standing = Standing.of(sweep.folder)
    first = standing.journal
    journal.write("report", trial=0, epoch=1, metrics={"val/map_at_r": 0.1})
    journal.close()
    standing = standing.again()
    assert standing.running and standing.journal is first and first.trials[0].reports
    old = time.time() - SILENT_S - 1
    os.utime(sweep.folder / FILE, (old, old))
    standing = standing.again()
    assert not standing.running and standing.journal.trials[0].state == "pending"
    os.utime(sweep.folder / FILE)
    standing = standing.again()
    assert standing.running and standing.journal.trials[0].state == "running"
    assert standing.journal.trials == Journal.read(sweep.folder).trials


def test_a_driver_that_left_says_how(sweep: Sweep) -> None:
    journal = launched(sweep)
    journal.write("left", state="stopped", reason="budget.hours=2 are used up")
    journal.close()
    assert Standing.of(sweep.folder).words() == "stopped: budget.hours=2 are used up"


def test_a_sweep_is_found_by_its_folder(sweep: Sweep, tmp_path: Path) -> None:
    launched(sweep).close()
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    sweep.folder.rename(moved)
    found = located(str(moved), [])
    assert found.folder == moved and found.search == sweep.search and found.space == sweep.space
    with pytest.raises(UserError, match="this is a folder"):
        located(str(moved), ["search.trials=2"])


def test_an_extension_is_part_of_the_sweep_from_then_on(sweep_file: Path) -> None:
    sweep = load_sweep(sweep_file)
    journal = launched(sweep)
    longer = amendments.extend(journal, make_plan(sweep), amendments.Extension(trials=4))
    assert longer.trials == longer.sweep.search.trials == journal.planned == 10
    journal.close()
    again = Journal.read(sweep.folder)
    assert amendments.extended(sweep, again).search.trials == 10
    check_folder(amendments.extended(sweep, again), resume=True, fresh=False)
    with pytest.raises(UserError, match="has another search"):
        check_folder(load_sweep(sweep_file, ["search.trials=9"]), resume=True, fresh=False)


def test_a_grid_cannot_grow(sweep_file: Path) -> None:
    settings = ["space={loss.SupAP.tau: {grid: [0.01, 0.02]}}", "search={sampler: grid, trials: 6}"]
    sweep = load_sweep(sweep_file, settings)
    journal = launched(sweep)
    with pytest.raises(UserError, match="the grid has no more than these 2 trials"):
        amendments.extend(journal, make_plan(sweep), amendments.Extension(trials=4))
    journal.close()


def with_checkpoints(journal: Journal, values: list[float]) -> None:
    for epoch, value in enumerate(values, start=1):
        journal.write("report", trial=0, epoch=epoch, metrics={"val/map_at_r": value})
        path = journal.folder / "launch-1" / "trial-0000" / f"checkpoint_{epoch}"
        path.mkdir(parents=True)
        (path / "training.ckpt").touch()
        journal.write("checkpoint", trial=0, epoch=epoch, path=str(path))


@pytest.mark.parametrize(
    ("state", "stay"),
    [
        ("running", {2, 4}),
        ("failed", {2, 4}),
        ("lost", {2, 4}),
        ("finished", {2}),
        ("stopped", {2}),
        ("infeasible", {2}),
    ],
)
def test_which_checkpoints_stay(sweep: Sweep, state: str, stay: set[int]) -> None:
    journal = launched(sweep)
    with_checkpoints(journal, [0.1, 0.4, 0.4, 0.2])
    stray = journal.folder / "launch-1" / "trial-0001" / "checkpoint_1"
    stray.mkdir(parents=True)
    if state != "running":
        journal.write("end", trial=0, state=state, reason="")
    retention.prune(journal.trials[0], sweep.objective)
    retention.remove_strays(journal, sweep.objective)
    journal.close()
    assert {int(path.name[-1]) for path in journal.folder.glob("launch-*/trial-*/checkpoint_*")} == stay


def test_a_trial_without_a_value_keeps_nothing_once_it_has_ended(sweep: Sweep) -> None:
    journal = launched(sweep)
    with_checkpoints(journal, [float("nan")])
    assert retention.kept(journal.trials[0], sweep.objective) == {1}
    journal.write("end", trial=0, state="infeasible", reason="diverged")
    assert retention.kept(journal.trials[0], sweep.objective) == set()
    journal.close()


def test_every_bad_end_is_said_with_its_reason(sweep: Sweep) -> None:
    journal = launched(sweep)
    ends = {
        "failed": "KeyError: 'x'",
        "stopped": "asha: rung 1, 0.1 < 0.2",
        "infeasible": "diverged",
        "lost": "its worker was lost",
    }
    for number, (state, reason) in enumerate(ends.items()):
        journal.write("point", trial=number, point=dict.fromkeys(sweep.space, 0.1))
        journal.write("end", trial=number, state=state, reason=reason)
    traceback_file(journal.folder, 0).write_text("Traceback")
    journal.close()
    lines = status_lines(sweep, Standing.of(sweep.folder))
    assert "1 stopped, 1 infeasible, 1 failed, 1 lost, 2 pending" in lines[0]
    assert any("asha: rung 1, 0.1 < 0.2" in line for line in lines)
    assert lines[-3:] == [
        f"trial 0000 failed: KeyError: 'x'; {traceback_file(sweep.folder, 0)}",
        "trial 0002 infeasible: diverged",
        "trial 0003 lost: its worker was lost",
    ]


def test_a_sweep_whose_points_leave_keys_out_is_the_same_sweep(sweep_file: Path) -> None:
    """The journal has them whole; the file does not."""
    partial = load_sweep(sweep_file, ["search.points=[{loss.SupAP.tau: 0.05}]"])
    launched(make_plan(partial).sweep).close()
    check_folder(partial, resume=True, fresh=False)
    other = load_sweep(sweep_file, ["search.points=[{loss.SupAP.tau: 0.06}]"])
    with pytest.raises(UserError, match="has another search"):
        check_folder(other, resume=True, fresh=False)
