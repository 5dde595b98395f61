"""When a confirmation may begin, go on, or look at the test split again; and what it would be."""

import uuid

from trainables.composition import compose
from trainables.console import Bars
from trainables.errors import UserError
from tuner import store
from tuner.confirmation.arms import chosen, fresh_seeds, overrides, seeds_of
from tuner.confirmation.data import ready
from tuner.confirmation.ledger import Arm, Ledger, Repeat
from tuner.results import Results
from tuner.standing import Standing
from tuner.sweep import Sweep

SAME = ("train", "space", "objective", "validation")  # in the file and in the journal


def results_of(sweep: Sweep, now: bool) -> Results:
    standing = Standing.found(sweep.folder)
    if standing is None:
        raise UserError(f"there is no sweep {sweep.name!r} in {sweep.place}: `roadmap-tune run` makes it")
    journal = standing.journal
    ran = journal.header["sweep"]
    if ran["scheduler"]["name"] == "pbt":
        raise UserError(
            f"sweep {sweep.name!r} is of pbt: its winner is a schedule, no point, and cannot be confirmed; "
            "`roadmap-train --schedule` trains it from another experience.seed"
        )
    for key, value in sweep.model_dump(mode="json").items():
        if key in SAME and ran[key] != value:
            raise UserError(
                f"the sweep in {sweep.place} ran with another {key}: confirm it with the file that it ran with"
            )
    if standing.running:
        raise UserError(f"sweep {sweep.name!r} is running: its winner is not known yet")
    if not journal.complete and not now:
        raise UserError(f"sweep {sweep.name!r} has not ended: finish it first, or --now confirms the best trial so far")
    return Results(sweep, tuple(journal.trials.values()))


def begin(results: Results, ledger: Ledger, arms: int | None, seeds: int | None, again: bool, bars: Bars) -> list[str]:
    """Leaves the ledger with a confirmation to carry out: the unfinished one, or a new one that has been checked.

    Ids of nodes that have not the data.
    """
    sweep = results.sweep
    last = ledger.confirmations[-1] if ledger.confirmations else None
    if last is not None and not last.complete:
        if arms not in (None, len(last.arms) - 1) or seeds not in (None, len(last.seeds)):
            raise UserError(
                f"a confirmation of {len(last.arms) - 1} arms over {len(last.seeds)} seeds is not finished: "
                "run `roadmap-tune confirm` without --arms and --seeds first, it goes on"
            )
        bars.line(f"going on with confirmation {last.number}")
        return ready(sweep, compose(sweep.train), bars)
    if last is not None and not again:
        told = "; ".join(verdict.sentence() for verdict in last.verdicts or ())
        raise UserError(
            f"sweep {sweep.name!r} has been confirmed, its test split seen {times(ledger.seen)}"
            f"{': ' if told else ''}{told}; --again looks at it once more, and says so"
        )
    wanted = chosen(results, sweep.confirm.arms if arms is None else arms)
    used = seeds_of(sweep, results.trials, compose(sweep.fixed()).experience.seed)
    used |= {seed for earlier in ledger.confirmations for seed in earlier.seeds}
    drawn = fresh_seeds(sweep.confirm.seeds if seeds is None else seeds, used)
    without = _check(sweep, wanted, drawn, bars)
    ledger.begin(uuid.uuid4().hex, wanted, drawn)
    return without


def _check(sweep: Sweep, arms: list[Arm], seeds: list[int], bars: Bars) -> list[str]:
    """Everything that would make a training or its test fail, before anything is written."""
    for arm in arms:
        try:
            experiment = compose(overrides(sweep, Repeat(arm, seeds[0])))
        except UserError as error:
            raise UserError(f"{arm.name} cannot be trained on the full train split: {error}") from None
    without = ready(sweep, experiment, bars)
    store.check(sweep.tracking)
    return without


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
