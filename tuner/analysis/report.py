"""Everything the analysis says of one sweep: as one record for JSON, and as sections that begin with a conclusion."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuner.analysis import audit, axes, costs, enough, epochs, importance, isolation, text
from tuner.analysis.audit import Audit
from tuner.analysis.axes import AxisPoint, Edge
from tuner.analysis.costs import Reached
from tuner.analysis.enough import Enough
from tuner.analysis.epochs import Epochs
from tuner.analysis.importance import Importances
from tuner.analysis.isolation import Cell
from tuner.analysis.noise import Noise
from tuner.results import Results
from tuner.space import Choice


@dataclass(frozen=True)
class Report:
    """within_noise: trials that cannot be told apart from the best one, itself first."""

    sweep: str
    metric: str
    noise: Noise
    within_noise: tuple[int, ...]
    importances: tuple[Importances, ...]
    edges: tuple[Edge, ...]
    axes: dict[str, tuple[AxisPoint, ...]]
    arms: tuple[Cell, ...]
    isolation: dict[str, tuple[Cell, ...]]
    enough: Enough
    epochs: Epochs
    reached: tuple[Reached, ...]
    audit: Audit | None

    def record(self) -> dict[str, Any]:
        """For JSON, which has no NaN."""
        cleaned = _without_nan(asdict(self))
        assert isinstance(cleaned, dict)
        return cleaned


def report(results: Results, noise: Noise, planned: int) -> Report:
    """planned: the epochs of a trial that is not stopped."""
    sweep = results.sweep
    searched = [key for key, known in sweep.distributions.items() if not _constant(known)]
    return Report(
        sweep.name,
        sweep.objective.metric,
        noise,
        tuple(trial.number for trial in noise.within(results)),
        tuple(importance.importances(results, method) for method in importance.METHODS),
        tuple(axes.edges(results)),
        axes.axes(results),
        tuple(isolation.arms(results)),
        {key: tuple(isolation.isolation(results, key)) for key in searched},
        enough.enough(results, noise),
        epochs.epochs(results, planned),
        tuple(epochs.reached(results)),
        audit.read(results, noise),
    )


def lines(found: Report, results: Results) -> list[str]:
    """What `analysis` prints."""
    sections = (
        _ranking(found, results),
        _importance(found),
        _edges(found),
        *([_arms(found)] if found.arms else []),
        _isolation(found),
        _enough(found),
        _epochs(found),
        _budget(found, results),
        _audit(found),
    )
    return [line for section in sections for line in ("", *_wrapped(section))][1:]


def _wrapped(section: Iterator[str]) -> Iterator[str]:
    """The conclusion in as many lines as it takes; tables and lines to copy stay as they are."""
    conclusion, *rest = section
    yield from text.sentence(conclusion)
    yield from rest


def _ranking(found: Report, results: Results) -> Iterator[str]:
    best = results.best
    if best is None:
        yield "BEST: no trial has a value yet"
        return
    top = f"trial {best.id} has the best {found.metric}, {results.value(best):.4f}"
    if found.noise.difference is None:
        yield f"BEST: {top}. It is no winner before `confirm`: {found.noise.source}."
    elif len(found.within_noise) == 1:
        yield f"BEST: {top}, further from all others than the noise; `confirm` it."
        yield f"  noise: {found.noise.difference:.4f}, {found.noise.source}"
    else:
        yield f"BEST: {top}. {len(found.within_noise)} trials lie within the noise: no winner yet."
        yield f"  noise: {found.noise.difference:.4f}, {found.noise.source}"
        yield f"  not told apart before `confirm`: {text.names(found.within_noise)}"


def _importance(found: Report) -> Iterator[str]:
    first = found.importances[0]
    if not first.rows:
        yield f"IMPORTANCE: {first.trials} judged trials are too few to say ({importance.FEWEST} at least)"
        return
    clear = [text.short(row.key) for row in first.rows if not row.by_chance]
    told = " and ".join(clear) + (" matters" if len(clear) == 1 else " matter") if clear else "no key stands out"
    yield f"IMPORTANCE: {told}{' beyond' if clear else ' from'} chance ({first.method}, {first.trials} trials)"
    for known in found.importances:
        yield from _shares(known)
    if first.left_out:
        yield f"  left out, too few trials have them: {', '.join(text.short(key) for key in first.left_out)}"
    if first.outside:
        yield f"  left out: {first.outside} trials outside of the ranges"


def _shares(known: Importances) -> Iterator[str]:
    if not known.rows:
        return
    rows = [[known.method, "share", "90 % of resamples", "trials", "if shuffled"]]
    for row in known.rows:
        chance = "as much" if row.by_chance else "less"
        rows.append(
            [text.short(row.key), f"{row.share:.2f}", f"{row.low:.2f} to {row.high:.2f}", str(row.trials), chance]
        )
    yield from text.table(rows)


def _edges(found: Report) -> Iterator[str]:
    if not found.edges:
        yield "RANGES: the best trials do not crowd at an end of any range"
        return
    ends = ", ".join(f"{text.short(edge.key)} ({edge.end})" for edge in found.edges)
    yield f"RANGES: the best trials crowd at the end of {ends}"
    for edge in found.edges:
        told = f"{edge.count} of the best {edge.top} in the last tenth"
        yield f"  {edge.line}    # {told}" if edge.line else f"  {edge.key} ends at 0: {told}"


def _arms(found: Report) -> Iterator[str]:
    with_value = [cell for cell in found.arms if cell.best is not None]
    yield f"ARMS: the best of each over its nuisance parameters, {len(with_value)} of {len(found.arms)} with a value"
    yield from text.table(_cells(found.arms, "arm"))
    for cell in with_value:
        yield f"  {cell.label}: {text.point(cell.point or {})}"


def _isolation(found: Report) -> Iterator[str]:
    yield "ISOLATION: the best over everything else; `fair`: of as many trials in each part"
    for key, cells in found.isolation.items():
        yield from text.table(_cells(cells, text.short(key)))


def _cells(cells: Sequence[Cell], head: str) -> list[list[str]]:
    rows = [[head, "trials", "best", "fair", "trial"]]
    for cell in cells:
        trial = "-" if cell.trial is None else f"{cell.trial:04d}"
        rows.append([cell.label, str(cell.trials), text.number(cell.best), text.number(cell.fair), trial])
    return rows


def _enough(found: Report) -> Iterator[str]:
    known = found.enough
    if math.isnan(known.gain):
        yield f"TRIALS: too few have a value to say whether there are enough ({enough.FEWEST} at least)"
        return
    gain = f"the last doubling gained {known.gain:.4f} on average"
    if known.enough is None:
        yield f"TRIALS: {gain}; as many again gain about that or less"
    elif known.enough:
        yield f"TRIALS: enough: {gain}, no more than the noise of {found.noise.difference:.4f}"
    else:
        yield f"TRIALS: more would pay: {gain}, the noise is {found.noise.difference:.4f}"
    rows = [["best of", "expected", "90 % of resamples"]]
    rows += [[str(one.trials), f"{one.expected:.4f}", f"{one.low:.4f} to {one.high:.4f}"] for one in known.curve]
    yield from text.table(rows)


def _epochs(found: Report) -> Iterator[str]:
    known = found.epochs
    if known.finished:
        advice = ": train longer" if known.longer else ""
        yield f"EPOCHS: the best epoch is the last one in {known.last} of {known.finished} finished trials{advice}"
        told = [f"{epoch}: {count}" for epoch, count in known.best.items()]
        yield f"  trials by best epoch, of {known.planned}:  {'   '.join(told)}"
    else:
        yield "EPOCHS: no trial has finished"


def _budget(found: Report, results: Results) -> Iterator[str]:
    known, unit = found.epochs, costs.unit(results.sweep)
    everything = known.run + known.saved
    share = f" ({known.saved / everything:.0%})" if known.saved else ""
    yield (
        f"BUDGET: {known.run} epochs, {known.hours:.2g} {unit}; "
        f"stopping saved {known.saved} epochs{share}, {known.saved_hours:.2g} {unit}"
    )
    rows = [["best so far", "trials", "epochs", unit, found.metric]]
    for share_, step in zip(epochs.SHARES, found.reached, strict=False):
        rows.append([f"{share_:.0%}", str(step.trials), str(step.epochs), f"{step.hours:.2g}", text.number(step.best)])
    yield from text.table(rows)


def _audit(found: Report) -> Iterator[str]:
    if found.audit is None:
        nothing = "nothing was stopped" if not found.epochs.saved else "not looked at: `roadmap-tune audit`"
        yield f"STOPPED WINNERS: {nothing}"
        return
    yield from audit_lines(found.audit)


def audit_lines(known: Audit) -> Iterator[str]:
    """What `audit` prints: the verdict in one line, then trial by trial."""
    yield f"STOPPED WINNERS: {known.verdict}"
    yield f"  {len(known.trials)} of the {known.stopped} stopped trials were audited"
    rows = [["trial", "stopped at", "best then", "epochs", "best", "state"]]
    for one in known.trials:
        then = f"{one.stopped_best:.4f}"
        rows.append([f"{one.trial:04d}", str(one.stopped_at), then, str(one.epochs), text.number(one.best), one.state])
    yield from text.table(rows)
    drift = max((one.drift for one in known.trials), default=0.0)
    if drift:
        yield f"  epochs that were run twice differ by up to {drift:.4f}: other code or machine"


def _constant(known: object) -> bool:
    return isinstance(known, Choice) and len(known.values) == 1


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
