"""Ray's events -> the journal: how a trial ends, and why. No Ray runs."""

import dataclasses
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as RayTrial

from trainables.errors import ProcessLost, UserError
from tuner.control import Control
from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.journal import Journal, traceback_file
from tuner.placement import resources
from tuner.recorder import LOST_RETRIES, Recorder
from tuner.scheduling.rule import EveryEpoch
from tuner.scheduling.tune import NUMBER
from tuner.sweep import Sweep


@pytest.fixture
def recorder(desk: Desk) -> Recorder:
    return Recorder(desk, EveryEpoch("max", desk.plan.epochs), Control(desk, Interruption()))


def of_ray(status: str = RayTrial.RUNNING, error_file: Path | None = None, **result: Any) -> Any:
    return SimpleNamespace(config={NUMBER: 0}, status=status, last_result=result, error_file=error_file)


def report(recorder: Recorder, epoch: int) -> None:
    result = {"state": "running", "reported": ["val/map_at_r"], "val/map_at_r": 0.5, "epoch": epoch}
    recorder.on_trial_result(0, [], of_ray(), result)


def raised(cause: Exception) -> RayTaskError:
    """As it comes out of an actor's method, after another one that it was raised for."""
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise cause from error
    except Exception:
        return RayTaskError("step", traceback.format_exc(), cause, "ray::RetrievalTrainable.train()", 7, "127.0.0.1")


LOST = "its worker was lost 5 times"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, "lost", LOST),
        (RayActorError(error_msg="The actor died.\nIts pid was 7"), "lost", f"{LOST}, at last: The actor died."),
        (raised(ProcessLost("rank 1 is gone")), "lost", f"{LOST}, at last: rank 1 is gone"),
        (raised(OSError("No space left\non any: disk")), "failed", "OSError: No space left"),
        (raised(UserError("")), "failed", "UserError: UserError"),
        (RayActorError(error_msg="Worker exit type: NODE_OUT_OF_MEMORY"), "infeasible",
         "out of memory: the machine had none left for its worker"),
    ],
)  # fmt: skip
def test_what_ray_tried_too_often(
    recorder: Recorder, desk: Desk, tmp_path: Path, error: Exception | None, state: str, reason: str
) -> None:
    file = tmp_path / "error.txt"
    for attempt in range(LOST_RETRIES + 1):
        if error is not None:
            with file.open("a") as written:  # as Ray's Trial.handle_error does
                written.write(f"Failure # {attempt + 1} (occurred at 2026-01-01_00-00-00)\n{error}\n")
        recorder.on_trial_error(0, [], of_ray(error_file=str(file)))
    trial = desk.journal.trials[0]
    assert (trial.state, trial.reason) == (state, reason)
    assert traceback_file(desk.journal.folder, 0).is_file() == (error is not None)


def test_a_bug_keeps_its_traceback(recorder: Recorder, desk: Desk) -> None:
    recorder.on_trial_complete(0, [], of_ray(state="failed", reason="KeyError: 'x'", traceback="Traceback ..."))
    assert desk.journal.trials[0].state == "failed" and desk.journal.trials[0].reason == "KeyError: 'x'"
    assert traceback_file(desk.journal.folder, 0).read_text() == "Traceback ..."


def test_a_trial_that_waits_has_no_worker(recorder: Recorder, desk: Desk) -> None:
    recorder.on_trial_start(0, [], of_ray())
    report(recorder, 1)
    assert desk.journal.trials[0].since is not None
    recorder.on_trial_complete(0, [], of_ray(RayTrial.TERMINATED, state="running", epoch=1))
    recorder.on_step_end(0, [of_ray(RayTrial.TERMINATED)])
    assert desk.journal.trials[0].since is None and desk.journal.trials[0].state == "pending"
    assert (desk.journal.folder / "journal.jsonl").read_text().count('"pause"') == 1


def test_a_driver_killed_before_it_wrote_the_end_is_made_up_for(desk: Desk, recorder: Recorder) -> None:
    for number in (1, 2, 3):
        desk.journal.write("point", trial=number, point=desk.plan.defaults)
    desk.journal.write("report", trial=0, epoch=2, metrics={"val/map_at_r": 0.1}, stop="asha: rung 2, 0.1 < 0.2")
    folder = desk.journal.folder / "launch-1" / "trial-0001" / "checkpoint_3"
    folder.mkdir(parents=True)
    for number in (1, 2):
        desk.journal.write("report", trial=number, epoch=desk.plan.epochs, metrics={"val/map_at_r": 0.5})
    desk.checkpointed(1, desk.plan.epochs, str(folder))
    desk.settle()
    desk.journal.close()
    read = Journal.read(desk.journal.folder).trials
    assert (read[0].state, read[0].reason) == ("stopped", "asha: rung 2, 0.1 < 0.2")
    assert read[1].state == "finished" and Path(read[1].checkpoints[desk.plan.epochs]) == folder
    # its last checkpoint is not there: the last epoch is trained again
    assert read[2].state == "running" and read[3].state == "pending"


def test_a_step_looks_at_live_trials_alone(desk: Desk, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray gives every trial of the launch at each step, as its own list: what has ended is looked at once."""
    followed: list[tuple[set[int], set[int]]] = []
    monkeypatch.setattr(recorder._control, "follow", lambda live, running: followed.append((set(live), set(running))))
    known = [SimpleNamespace(config={NUMBER: number}, status=RayTrial.PENDING) for number in range(3)]
    trials: list[Any] = [*known]
    steps = [("PENDING", "RUNNING", "TERMINATED"), ("RUNNING", "PENDING", "TERMINATED"), ("ERROR", "PAUSED", "ERROR")]
    for statuses in steps:
        for trial, status in zip(known, statuses, strict=True):
            trial.status = status
        recorder.on_step_end(0, trials)
    assert followed == [({0, 1}, {1}), ({0, 1}, {0}), (set(), set())]
    assert trials == [known[1]]
    trials.append(SimpleNamespace(config={NUMBER: 0}, status=RayTrial.PENDING))  # the same trial, tried again
    known[1].status = RayTrial.RUNNING
    recorder.on_step_end(0, trials)
    assert followed[-1] == ({0, 1}, {1}) and len(trials) == 2


def test_losses_count_since_the_newest_checkpoint_and_a_bug_is_none(
    recorder: Recorder, desk: Desk, tmp_path: Path
) -> None:
    file, trial = tmp_path / "error.txt", desk.journal.trials[0]
    file.write_text(f"Failure # 1 (occurred at 2026-01-01_00-00-00)\n{RayActorError(error_msg='The node died.')}\n")
    for epoch in (1, 2):
        for _ in range(LOST_RETRIES):
            recorder.on_trial_start(0, [], of_ray())
            recorder.on_trial_error(0, [], of_ray(error_file=str(file)))
        assert (trial.state, trial.losses, trial.since) == ("pending", LOST_RETRIES, None)
        desk.checkpointed(0, epoch, str(desk.journal.folder / f"checkpoint_{epoch}"))
    recorder.on_trial_complete(0, [], of_ray(state="failed", reason="KeyError: 'x'"))
    assert (trial.state, trial.losses) == ("failed", 0)


@pytest.mark.parametrize(("gpu", "tries"), [(0.0, 1), (0.25, 2), (1.0, 1)])
def test_out_of_memory_is_tried_once_more_where_trials_share_a_gpu(
    sweep: Sweep, recorder: Recorder, desk: Desk, gpu: float, tries: int
) -> None:
    shared = sweep.model_copy(update={"resources": sweep.resources.model_copy(update={"gpu": gpu})})
    desk.plan = dataclasses.replace(desk.plan, sweep=shared)
    trial = desk.journal.trials[0]
    for attempt in range(tries):
        assert not trial.ended and trial.crowded == (attempt == 1)
        assert resources(shared.resources.model_dump(), crowded=trial.crowded).bundles[0].get("GPU", 0) == gpu * (
            attempt + 1
        )
        recorder.on_trial_complete(0, [], of_ray(state="infeasible", reason="out of memory: CUDA", memory=True))
    assert (trial.state, trial.reason) == ("infeasible", "out of memory: CUDA")
    desk.journal.close()
    assert Journal.read(desk.journal.folder).trials[0].crowded == (tries == 2)


def test_a_paused_trial_that_mlflow_missed_is_told_before_it_may_be_dropped(desk: Desk) -> None:
    """Its driver was killed before it was written, and its scheduler ends it without starting it again."""
    desk.journal.write("report", trial=0, epoch=1, metrics={"val/map_at_r": 0.5})
    desk.journal.write("pause", trial=0)
    told: list[str] = []

    class Heard:
        def __getattr__(self, name: str) -> Any:
            return lambda trial_id, *values, **named: told.append(f"{name} {trial_id}")

    desk.tracker = Heard()  # type: ignore[assignment]
    desk.caught_up()
    desk.ended(0, "stopped", "rung 1")
    assert told == ["settle_trial 0000", "report 0000", "end_trial 0000"]
