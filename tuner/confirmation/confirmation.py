"""A confirmation from the sweep's results to its verdict."""

import sys
from collections.abc import Mapping
from typing import IO

from trainables.composition import compose
from trainables.console import Bars
from tuner import cluster, mirror
from tuner.confirmation.ledger import Arm, Confirmation, Ledger
from tuner.confirmation.opening import begin, results_of
from tuner.confirmation.verdict import Values, Verdict, compared
from tuner.sweep import Sweep
from tuner.tracking import TrackingSummary

SECONDS_FOR_TRACKING = 60.0
SECONDS_FOR_TRACKING_INTERRUPTED = 3.0


def confirm(
    sweep: Sweep,
    *,
    arms: int | None = None,
    seeds: int | None = None,
    again: bool = False,
    now: bool = False,
    stream: IO[str] | None = None,
) -> tuple[Ledger, TrackingSummary]:
    """Trains the winner and the presets over fresh seeds on the whole train split, then measures on the test split.

    An interrupted confirmation goes on where it was. arms, seeds: instead of the file's. again: although the test split
    has been seen. now: although the sweep has not ended. UserError in one line for whatever stands against it. Where a
    training failed the newest confirmation has no verdict and the test split is not opened.
    """
    results = results_of(sweep, now)
    ledger = Ledger(sweep.folder)
    with Bars(stream or sys.stderr) as bars:
        ledger.open()
        try:
            with mirror.kept(sweep.folder, bars.line):
                without = begin(results, ledger, arms, seeds, again, bars)
                return ledger, _carry_out(sweep, ledger, bars, without)
        finally:
            ledger.close()


def _carry_out(sweep: Sweep, ledger: Ledger, bars: Bars, without: list[str]) -> TrackingSummary:
    """without: ids of nodes that have not the data."""
    cluster.prepare_environment(sweep)
    from tuner.confirmation import trainings, values
    from tuner.confirmation.office import Office

    office = Office(sweep, ledger, bars.line)
    confirmation = office.confirmation
    try:
        trainings.train(office, without)
        if confirmation.trained:
            values.measure(office, bars)
            read = {repeat.key: values.read_values(ledger.folder / repeat.values) for repeat in confirmation.tested}
            ledger.write("verdict", verdicts=[vars(verdict) for verdict in _judged(sweep, confirmation, read)])
    finally:
        ended = confirmation.complete or confirmation.failed
        state = "finished" if confirmation.complete else "failed" if confirmation.failed else "interrupted"
        sentences = "\n".join(verdict.sentence() for verdict in confirmation.verdicts or ())
        artifacts = {"verdict.txt": sentences} if sentences else {}
        patience = SECONDS_FOR_TRACKING if ended else SECONDS_FOR_TRACKING_INTERRUPTED
        tracking = office.close(state, _numbers(confirmation), artifacts, patience)
    return tracking


def _judged(sweep: Sweep, confirmation: Confirmation, values: Mapping[str, Mapping[str, Values]]) -> list[Verdict]:
    """Each arm against the defaults on each test split, by the objective's metric or, of landmarks, their principal."""
    if not values:
        return []
    measured = next(iter(next(iter(values.values())).values()))
    metric = sweep.objective.metric.removeprefix("val/")
    if metric not in measured:
        metric = compose(sweep.train).experience.principal_metric

    def of(arm: Arm) -> dict[int, Mapping[str, Values]]:
        return {one.seed: values[one.key] for one in confirmation.of_arm(arm) if one.key in values}

    defaults, *others = confirmation.arms
    return [verdict for arm in others for verdict in compared(of(arm), of(defaults), (arm.name, defaults.name), metric)]


def _numbers(confirmation: Confirmation) -> dict[str, float]:
    """The verdicts as metrics of one run."""
    found: dict[str, float] = {}
    for verdict in confirmation.verdicts or ():
        key = f"{verdict.arm}/{verdict.split}/{verdict.metric}"
        found |= {f"{key}/difference": verdict.difference, f"{key}/low": verdict.low, f"{key}/high": verdict.high}
    return found
