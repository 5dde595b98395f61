"""What may be added to a sweep after its first launch: more trials, more hours, another try of trials that ended."""

from collections.abc import Collection
from dataclasses import dataclass

from trainables.errors import UserError
from tuner.journal import Journal
from tuner.plan import Plan, make_plan
from tuner.sweep import Sweep


@dataclass(frozen=True)
class Extension:
    """On top of what the sweep has."""

    trials: int = 0
    hours: float = 0.0
    gpu_hours: float = 0.0


def extended(sweep: Sweep, journal: Journal) -> Sweep:
    """The sweep of the file with the trials that `extend` added; as it is where it is not the journal's sweep."""
    trials = journal.extension.get("trials")
    if trials is None or journal.header["sweep"]["search"]["trials"] != sweep.search.trials:
        return sweep
    return with_trials(sweep, int(trials))


def with_trials(sweep: Sweep, trials: int) -> Sweep:
    return sweep.model_copy(update={"search": sweep.search.model_copy(update={"trials": trials})})


def extend(journal: Journal, plan: Plan, more: Extension) -> Plan:
    """Writes the extension into the open journal; returns the plan with it. UserError where it adds nothing."""
    for key in ("hours", "gpu_hours"):
        if getattr(more, key) and getattr(plan.sweep.budget, key) is None:
            raise UserError(f"budget.{key} sets no limit: there is nothing to extend")
    if more.trials and plan.sweep.scheduler.name == "pbt":
        raise UserError(f"the population of pbt is fixed: these {plan.trials} trials have exchanged without others")
    if not more.trials and journal.complete:
        raise UserError("every trial has ended: `extend --trials N` adds some")
    # how many trials there are changes nothing about the room for one, which a launch looks at
    wanted, longer = with_trials(plan.sweep, plan.trials + more.trials), plan
    if more.trials:
        longer = make_plan(wanted, here=False, room=plan.room, launching=False)
    if more.trials and longer.trials == plan.trials:
        raise UserError(f"the {plan.sweep.search.sampler} has no more than these {plan.trials} trials")
    asked, planned = (longer.sweep.search.trials, longer.trials) if more.trials else (0, 0)
    journal.write("extend", trials=asked, planned=planned, hours=more.hours, gpu_hours=more.gpu_hours)
    return longer


def retry(journal: Journal, states: Collection[str]) -> list[int]:
    """The trials that ended in one of these states go on, under their numbers. UserError where there is none."""
    if journal.header.get("sweep", {}).get("scheduler", {}).get("name") == "pbt":
        raise UserError("the population of pbt has gone on without the trials that ended: none can be tried again")
    numbers = [trial.number for trial in journal.trials.values() if trial.state in states]
    if not numbers:
        raise UserError(f"no trial is {' or '.join(states)}")
    for number in numbers:
        journal.write("retry", trial=number)
    return numbers
