"""What a report of a sweep has: the verdict, the figures by section, the table of all trials, how to repeat it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.analysis import text
from tuner.reporting import parameters, progress, proof, retrieval
from tuner.reporting.figure import Figure
from tuner.reporting.pictures import Picture, Pictures

if TYPE_CHECKING:
    from tuner.analysis.report import Report
    from tuner.confirmation.ledger import Confirmation, Ledger
    from tuner.results import Results


@dataclass(frozen=True)
class Section:
    """Some pictures and figures under one heading; `said` stands above them."""

    title: str
    said: str
    figures: tuple[Figure, ...]
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Contents:
    """verdict: one sentence, what to believe and do; facts: a few lines below it; repeat: commands to copy.

    wanting: how to get what the report could have and has not; "" where it has everything.
    """

    name: str
    goal: str
    verdict: str
    facts: tuple[str, ...]
    sections: tuple[Section, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    repeat: tuple[tuple[str, str], ...]
    wanting: str

    @property
    def figures(self) -> list[Figure]:
        return [figure for section in self.sections for figure in section.figures]


def contents(
    results: "Results",
    found: "Report",
    ledger: "Ledger",
    standing: str,
    file: str,
    shown: Pictures | None,
    drawn: Sequence[Picture],
) -> Contents:
    """standing: how the sweep stands, in words. file: how the user called it, for the commands.

    shown, drawn: what `roadmap-tune pictures` has left; None and nothing where it was not called.
    """
    confirmation = next((one for one in reversed(ledger.confirmations) if one.complete), None)
    sections = [
        _section("Proof", _seen(ledger), [*proof.seeds(confirmation), proof.folds(results)]),
        _section("Progress", "", _progress(results, found)),
        *([] if results.sweep.scheduler.name == "pbt" else _settings(results, found)),
        *([] if shown is None else [_retrieval(shown, drawn)]),
    ]
    wanting = _wanting(results, shown, file)
    table = results.table.drop(columns="checkpoint")
    rows = [tuple(_cell(value) for value in row) for row in table.itertuples(index=False)]
    return Contents(
        results.sweep.name,
        results.sweep.goal,
        _verdict(results, found, confirmation, file),
        (*_facts(results, found, standing), *([wanting] if wanting else [])),
        tuple(section for section in sections if section.figures),
        tuple(map(str, table.columns)),
        tuple(rows),
        tuple(_repeat(results, file)),
        wanting,
    )


def _section(title: str, said: str, figures: Sequence[Figure | None]) -> Section:
    return Section(title, said, tuple(figure for figure in figures if figure is not None))


def _retrieval(shown: Pictures, drawn: Sequence[Picture]) -> Section:
    arms = "; ".join(
        f"the {arm.role}, trial {arm.trial} at epoch {arm.epoch}: mAP@R {arm.map_at_r:.4f}, R@1 {arm.recall_at_1:.4f}"
        for arm in shown.arms
    )
    split = "The validation split" if shown.fold is None else f"Fold {shown.fold} of the validation"
    said = f"{split}, {shown.images:,} images. {arms[0].upper()}{arms[1:]}."
    return Section("Retrieval", said, tuple(retrieval.figures(shown)), tuple(drawn))


def _wanting(results: "Results", shown: Pictures | None, file: str) -> str:
    if results.best is None:
        return ""
    how = f"`roadmap-tune pictures {file}` makes them"
    if shown is None:
        return f"There are no retrieval pictures: {how}, with the checkpoints and the data."
    if (shown.arms[0].trial, shown.arms[0].epoch) != (results.best.id, results.best_metrics(results.best)["epoch"]):
        return f"The retrieval pictures are those of trial {shown.arms[0].trial}, the best one then: {how} anew."
    return ""


def _progress(results: "Results", found: "Report") -> list[Figure | None]:
    if results.best is None:
        return []
    planned = found.epochs.planned
    return [
        progress.best_so_far(results),
        progress.learning_curves(results, planned),
        progress.spent(results, found),
        progress.trade_off(results),
    ]


def _settings(results: "Results", found: "Report") -> list[Section]:
    if results.best is None:
        return []
    return [
        _section("Settings", "", [parameters.parallel(results), parameters.importances(found)]),
        _section("Each setting beside the objective", "", parameters.axes(results, found)),
        _section(
            "Isolation: the best over everything else",
            "Orange: the expected best of as many trials as the smallest part has; more trials have more luck.",
            parameters.isolation(results, found),
        ),
    ]


def _verdict(results: "Results", found: "Report", confirmation: "Confirmation | None", file: str) -> str:
    if confirmation is not None and confirmation.verdicts:
        sentence = confirmation.verdicts[0].sentence()
        return f"{sentence[0].upper()}{sentence[1:]}."
    best = results.best
    if best is None:
        return "No trial has a value yet."
    value = f"trial {best.id} has the best {results.sweep.objective.metric}, {results.told(best)}"
    if best.number == 0:
        return f"Nothing beat the presets: {value}."
    close = len(found.within_noise) - 1
    others = f", and {close} more lie within the noise" if close else ""
    return (
        f"Not proven yet: {value}{others}. A best value is chosen from many and flatters: "
        f"`roadmap-tune confirm {file}` trains it and the presets over fresh seeds."
    )


def _seen(ledger: "Ledger") -> str:
    if not ledger.seen:
        return "The test split has not been looked at."
    return f"The test split of this sweep has been looked at {'once' if ledger.seen == 1 else f'{ledger.seen} times'}."


def _facts(results: "Results", found: "Report", standing: str) -> list[str]:
    states: dict[str, int] = {}
    for trial in results.trials:
        states[trial.state] = states.get(trial.state, 0) + 1
    facts = [f"The sweep is {standing}: " + ", ".join(f"{count} {state}" for state, count in states.items()) + "."]
    place = results.place(0)
    best = results.best
    if best is not None and place is not None:
        presets = next(trial for trial in results.trials if trial.number == 0)
        facts.append(f"The presets (trial 0000): {results.told(presets)}, place {place} of {len(results.trials)}.")
        epoch = results.best_metrics(best)["epoch"]
        facts.append(f"The best point: {text.point(results.point(best))}; its best epoch: {epoch:.0f}.")
    facts += [
        f"{edge.count} of the best {edge.top} trials lie at the {edge.end} end of {edge.key}." for edge in found.edges
    ]
    if found.enough.enough is not None:
        facts.append("There are enough trials." if found.enough.enough else "More trials would pay.")
    if found.audit is not None:
        facts.append(f"Stopped winners: {found.audit.verdict}.")
    return facts


def _repeat(results: "Results", file: str) -> list[tuple[str, str]]:
    commands = [("the sweep", f"roadmap-tune run {file}"), ("its proof", f"roadmap-tune confirm {file}")]
    if results.best is not None:
        commands.insert(0, (f"the best trial alone ({results.best.id})", results.command(results.best)))
    return commands


def _cell(value: object) -> object:
    """As JSON has it: numbers stay numbers, what is missing is None."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if isinstance(value, int | str) or value is None else str(value)
