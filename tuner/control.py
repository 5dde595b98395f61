"""What a launch does beside its trials: it takes requests, keeps the budget, and ends before its time where it must."""

import re
import time
from collections.abc import Callable, Container, Mapping
from typing import Any

from trainables.errors import UserError, unknown
from tuner import amendments, budget, requests, room
from tuner.amendments import Extension
from tuner.desk import Desk
from tuner.interruption import Interruption
from tuner.journal import BROKEN, Trial
from tuner.plan import make_plan
from tuner.requests import Request

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_SIGNS = 2.0
ALIKE = 3  # trials that end before their first epoch for one cause: the sweep itself is at fault


def alike(trials: Mapping[int, Trial]) -> str:
    """The cause that ended the first trials before their first epoch; "" where they did not or each has its own."""
    first = [trials[number] for number in range(ALIKE) if number in trials]
    if len(first) < ALIKE or any(trial.state not in ("infeasible", *BROKEN) or trial.reports for trial in first):
        return ""
    causes = {re.sub(r"\d+(\.\d*)?(e[+-]?\d+)?", "#", trial.reason) for trial in first}
    return first[0].reason if len(causes) == 1 else ""


class Control:
    """Between two events of a launch: may another trial start, and does the launch go on?

    A launch that ends gracefully starts nothing more and waits until each running trial has ended its epoch and
    written its checkpoint; those that are through go on meanwhile, whole epochs of which count.
    """

    def __init__(self, desk: Desk, interruption: Interruption) -> None:
        self._desk, self._interruption = desk, interruption
        self.state = self.reason = ""  # how the launch ends, once that is known
        self._live: set[int] = set()  # in Ray's hands, not ended: they have a worker or wait for one
        self._running: set[int] = set()
        self._awaited: set[int] = set()
        self.avoided: dict[str, str] = {}  # node -> why nothing is placed there
        self._looked = self._signed = 0.0
        self._changes: dict[str, Callable[..., str]] = {
            "stop": self._stop,
            "concurrent": self._concurrent,
            "extend": self._extend,
            "retry": self._retry,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks for a restore of its own; a sweep is resumed from its journal instead."""
        return {}

    # -- what the searcher asks ---------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether nothing is left to start and nothing runs: until then a request may bring more."""
        return not self._live and self._desk.journal.complete

    @property
    def idle(self) -> bool:
        """Whether Ray has nothing to do, and so asks for the next trial without ending its step."""
        return not self._live

    def left(self, paused: Container[int]) -> Trial | None:
        """The first trial that was drawn, has not ended, is not in Ray's hands and does not wait for others."""
        trials = self._desk.journal.trials.values()
        away = (trial for trial in trials if not trial.ended and trial.number not in self._live)
        return next((trial for trial in away if trial.number not in paused), None)

    def may_start(self) -> bool:
        return (
            not self.state
            and len(self._live) < self._desk.plan.sweep.budget.concurrent
            and not self._desk.journal.waiting
        )

    def given(self, number: int) -> None:
        """Ray has the trial from here on."""
        self._live.add(number)

    # -- what the recorder tells --------------------------------------------------------------------------------------

    def checkpointed(self, number: int) -> None:
        self._awaited.discard(number)

    def follow(self, live: set[int], running: set[int]) -> None:
        """Where Ray's trials stand."""
        self._live, self._running = live, running
        self._awaited &= running

    def avoid(self, node: str, reason: str, others: int) -> None:
        """Nothing more is placed on the node, which has no data; the launch ends where it has no `others`."""
        if node not in self.avoided:
            self.avoided[node] = reason
            self._desk.journal.write("avoid", node=node, reason=reason)
            self._desk.board.line(f"nothing more is placed on node {node[:8]}: {reason}")
        if not others and not self.state:
            self._end("failed", f"no node has the data: {reason}")

    def act(self) -> None:
        """Once a step: KeyboardInterrupt where the launch is to end now."""
        self._interruption.act()
        now = time.monotonic()
        if now - self._signed >= SECONDS_BETWEEN_SIGNS:
            self._signed = now
            self._desk.journal.touch()
        cause = alike(self._desk.journal.trials)
        if cause and not self.state:
            self._end("failed", f"the first {ALIKE} trials failed alike: {cause}")
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            self._look()
        if self.state and not self._awaited:
            self._interruption.ask()
            self._interruption.act()

    def _look(self) -> None:
        journal, sweep = self._desk.journal, self._desk.plan.sweep
        for request in requests.take(journal.folder):
            journal.write("answer", request=request.id, text=self._answered(request))
        if self.state:
            return
        spent = budget.exhausted(journal, sweep, time.time())
        if spent and not journal.complete:
            self._end("stopped", spent)
        self._wait("" if self.state else budget.short_of_disk(sweep))

    def _end(self, state: str, reason: str) -> None:
        self.state, self.reason = state, reason
        self._awaited = set(self._running)
        epochs = f"; {_named(self._awaited)} first" if self._awaited else ""
        self._desk.board.line(f"{reason}: nothing more starts{epochs}")

    def _wait(self, reason: str) -> None:
        before = self._desk.journal.waiting
        if bool(reason) == bool(before):
            return
        self._desk.journal.write("wait", reason=reason)
        if reason:
            self._desk.board.line(f"waiting: {reason}; running trials go on")
        elif not self.state:
            self._desk.board.line("there is room on the disk again: going on")

    # -- requests -----------------------------------------------------------------------------------------------------

    def _answered(self, request: Request) -> str:
        try:
            if request.kind not in self._changes:
                raise unknown("request", request.kind, self._changes)
            return self._changes[request.kind](**request.values)
        except (UserError, TypeError) as error:
            return f"{requests.REFUSED}{error}"

    def _stop(self, now: bool) -> str:
        if now:
            self._interruption.ask()
            return "ends at once"
        if not self.state:
            self._end("interrupted", "asked to stop")
        return f"{_named(self._awaited)} first" if self._awaited else "ends"

    def _concurrent(self, number: int) -> str:
        sweep = self._desk.plan.sweep
        changed = sweep.budget.model_copy(update={"concurrent": number})
        there = None if self._desk.plan.room is None else room.of_ray()
        self._desk.change(make_plan(sweep.model_copy(update={"budget": changed}), room=there, launching=False))
        return f"{number} at a time from now on"

    def _extend(self, trials: int, hours: float, gpu_hours: float) -> str:
        plan = amendments.extend(self._desk.journal, self._desk.plan, Extension(trials, hours, gpu_hours))
        self._desk.change(plan)
        return f"{plan.trials} trials now"

    def _retry(self, states: list[str]) -> str:
        return f"{len(amendments.retry(self._desk.journal, states))} trials go on"


def _named(trials: set[int]) -> str:
    """ "trials 0003, 0004 end their epoch"."""
    numbers = ", ".join(f"{number:04d}" for number in sorted(trials))
    return f"trial {numbers} ends its epoch" if len(trials) == 1 else f"trials {numbers} end their epochs"
