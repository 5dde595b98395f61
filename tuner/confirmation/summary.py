"""What `roadmap-tune confirm` prints: every training's test value, the verdict, where the rest lies."""

from statistics import fmean, stdev

from tuner.confirmation.ledger import Arm, Confirmation, Ledger
from tuner.confirmation.opening import times
from tuner.sweep import Sweep


def closing_lines(sweep: Sweep, ledger: Ledger, file: str) -> list[str]:
    """Of the newest confirmation."""
    confirmation = ledger.confirmations[-1]
    lines = ["", *_troubles(confirmation)]
    if not confirmation.complete:
        opened = "has been opened" if confirmation.opened else "was not opened"
        return [*lines, f"no verdict yet, the test split {opened}: `roadmap-tune confirm {file}` goes on"]
    for split, metric in dict.fromkeys((verdict.split, verdict.metric) for verdict in confirmation.verdicts or ()):
        lines += [f"{split}/{metric}", *table(confirmation, f"{split}/{metric}"), ""]
    lines += [verdict.sentence() for verdict in confirmation.verdicts or ()]
    if not confirmation.verdicts:
        lines.append("no verdict: fewer than two seeds on which both arms could be trained")
    seen = f"the test split of this sweep has been seen {times(ledger.seen)}"
    if ledger.seen > 1:
        seen += ": each further look makes what it says weaker"
    folder = ledger.folder / f"confirm-{confirmation.number}"
    return [
        *lines,
        seen,
        f"every query's values: {folder}; the ledger: {ledger.path}",
        "look at every training in MLflow (runs with the tag kind = confirm-training):",
        f"  .venv/bin/roadmap-tune ui {file}",
    ]


def table(confirmation: Confirmation, metric: str) -> list[str]:
    """A row an arm: trial, epochs, a value for each seed, mean and spread over the seeds, the point."""
    seeds = [f"seed {seed}" for seed in confirmation.seeds]
    rows = [["arm", "trial", "epochs", *seeds, "mean ± spread", "point"]]
    rows += [_row(confirmation, arm, metric) for arm in confirmation.arms]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]) for row in rows
    ]


def _row(confirmation: Confirmation, arm: Arm, metric: str) -> list[str]:
    values = [None if repeat.test is None else repeat.test[metric] for repeat in confirmation.of_arm(arm)]
    known = [value for value in values if value is not None]
    told = ["-" if value is None else f"{value:.4f}" for value in values]
    overall = "-" if not known else f"{fmean(known):.4f}" + (f" ± {stdev(known):.4f}" if len(known) > 1 else "")
    point = ", ".join(
        f"{'.'.join(key.split(',')[0].split('.')[-2:])} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in arm.point.items()
    )
    return [arm.role, f"{arm.trial:04d}", str(arm.epochs), *told, overall, point]


def _troubles(confirmation: Confirmation) -> list[str]:
    return [
        f"{repeat.arm.name}, seed {repeat.seed}: {repeat.state}: {repeat.reason}; "
        + ("the seed is left out of the comparison" if repeat.state == "infeasible" else "it is tried again next time")
        for repeat in confirmation.repeats.values()
        if repeat.state in ("infeasible", "failed")
    ]
