"""Which of Ray's waiting trials gets a process that has become free. No Ray is started."""

from types import SimpleNamespace
from typing import Any

import pytest

from tuner.scheduling import tune
from tuner.scheduling.rule import EveryEpoch
from tuner.scheduling.tune import PATIENCE_S, RuleScheduler


def trial(name: str, status: str = "PENDING") -> Any:
    return SimpleNamespace(trial_id=name, status=status)


def test_a_trial_keeps_the_process_that_starts_for_it_until_it_has_waited_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom Ray is told of takes the free process, and loses the one that starts."""
    clock = [100.0]
    monkeypatch.setattr(tune.time, "monotonic", lambda: clock[0])
    scheduler = RuleScheduler(EveryEpoch("max", 3), "val/map_at_r")
    first, second, running = trial("first"), trial("second"), trial("running", "RUNNING")
    live = [running, first]
    controller = SimpleNamespace(get_live_trials=lambda: live)
    assert scheduler.choose_trial_to_run(controller) is None
    clock[0] += PATIENCE_S / 2
    live.append(second)
    assert scheduler.choose_trial_to_run(controller) is None
    clock[0] += PATIENCE_S / 2 + 1
    assert scheduler.choose_trial_to_run(controller) is first
    assert scheduler.choose_trial_to_run(controller) is first, "asked twice"
    first.status = "RUNNING"
    assert scheduler.choose_trial_to_run(controller) is None
    clock[0] += PATIENCE_S / 2
    assert scheduler.choose_trial_to_run(controller) is second
    first.status = "PENDING"  # it waits anew
    second.status = "TERMINATED"
    assert scheduler.choose_trial_to_run(controller) is None
