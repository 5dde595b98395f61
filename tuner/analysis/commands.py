"""`roadmap-tune` results, analysis, compare and audit."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError
from tuner import tables
from tuner.analysis import text
from tuner.results import Results
from tuner.standing import Standing, existing, located
from tuner.sweep import Sweep

if TYPE_CHECKING:
    from tuner.analysis import audit


def add_commands(commands: Any, reachable: argparse.ArgumentParser) -> None:
    """Registers them; reachable: the parser of a sweep file, --set and the options of a cluster."""
    results = commands.add_parser("results", parents=[reachable], help="every trial with its state and reason")
    results.add_argument("--csv", type=Path, metavar="FILE", help="write the table there too")
    results.set_defaults(command=_results)
    analysis = commands.add_parser(
        "analysis", parents=[reachable], help="what matters, which ranges and budgets to change"
    )
    analysis.add_argument("--json", type=Path, metavar="FILE", help="write everything as data there too")
    analysis.set_defaults(command=_analysis)
    audit = commands.add_parser("audit", parents=[reachable], help="run a few stopped trials to their end")
    audit.add_argument("--trials", type=int, default=4, metavar="N")
    audit.set_defaults(command=_audit)
    compare = commands.add_parser("compare", help="sweeps at equal trials, epochs and device hours")
    compare.add_argument("sweeps", metavar="SWEEP", nargs="+", help="sweep files or folders of sweeps")
    compare.set_defaults(command=_compare)
    for parser in (analysis, audit, compare):
        parser.add_argument("--seeds", type=Path, metavar="CSV", help="repeated seeds, of `roadmap-tune record`")


def found(path: str, settings: Sequence[str]) -> Results:
    """The results of the sweep that ran, whatever its file says by now; UserError where none did.

    path: a sweep file, or the folder of a sweep.
    """
    sweep = located(path, list(settings))
    journal = existing(sweep).journal
    ran = Sweep.model_validate_json(json.dumps(journal.header["sweep"]))
    ran = ran.model_copy(update={"name": sweep.name, "storage": sweep.storage})
    return Results(ran, tuple(journal.trials.values()))


def _of_points(results: Results) -> Results:
    """UserError for population based training: a trial's value is there that of a schedule, not of a point."""
    if results.sweep.scheduler.name == "pbt":
        raise UserError("scheduler.name='pbt': a value is that of a schedule, not of a point; `results` has the trials")
    return results


def _results(arguments: argparse.Namespace) -> int:
    results = found(arguments.sweep, arguments.settings)
    _write(arguments.csv, results.write)
    print("\n".join(trial_lines(results, tables.columns(sys.stdout))))
    return 0


def trial_lines(results: Results, width: int | None = None) -> list[str]:
    """One line a trial, best first, its reason last; width: of the terminal, to which they are fitted."""
    metric, mode, keys = results.sweep.objective.metric, results.sweep.objective.mode, list(results.sweep.space)
    rows = [["trial", "state", "epochs", metric, "best epoch", *map(text.short, keys), "reason"]]
    for trial in results.ranked:
        best = trial.best(metric, mode)
        value = ["-", "-"] if best is None else [f"{best[1]:.4f}", str(best[0])]
        point = [text.written(trial.point[key]) if key in trial.point else "-" for key in keys]
        rows.append([trial.id, trial.state, str(max(trial.reports, default=0)), *value, *point, trial.reason])
    reason = len(rows[0]) - 1
    room = None if width is None else width - 2  # that table() puts in front
    settings = range(reason - 1, 4, -1)
    fitted, left_out = tables.fit(rows, room, [reason, 4, 2, *settings], settings, reason)
    if "reason" not in left_out:
        longest = max(len(row[-1]) for row in fitted)
        fitted = [[*row[:-1], row[-1].ljust(longest)] for row in fitted]
    return [*text.table(fitted, left=2), *tables.left_out_line(left_out, width, "--csv FILE writes them all")]


def _analysis(arguments: argparse.Namespace) -> int:
    from tuner.analysis.noise import noise
    from tuner.analysis.report import lines, report

    results = _of_points(found(arguments.sweep, arguments.settings))
    known = report(results, noise(results, arguments.seeds), _composed(results).experience.max_iter)
    _write(arguments.json, lambda path: path.write_text(json.dumps(known.record(), indent=2) + "\n"))
    print("\n".join(lines(known, results)))
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    from trainables.console import Bars
    from tuner import cluster
    from tuner.analysis import audit
    from tuner.analysis.noise import noise
    from tuner.analysis.report import audit_lines

    if arguments.trials < 1:
        raise UserError(f"--trials {arguments.trials}: at least 1")
    results = _of_points(found(arguments.sweep, arguments.settings))
    if Standing.of(results.sweep.folder).running:
        raise UserError(f"sweep {results.sweep.name!r} is running: audit it when it has ended")
    told = noise(results, arguments.seeds)
    with cluster.joined(results.sweep, arguments.address), Bars(sys.stderr) as bars:
        if cluster.is_joined():
            _on_a_node(results, arguments.trials, bars.update)
        else:
            audit.run(results, arguments.trials, bars.update, bars.line)
    known = audit.read(results, told)
    assert known is not None, "an audit leaves its journal"
    conclusion, *rest = audit_lines(known)
    print("\n".join([*text.sentence(conclusion), *rest]))
    return 0


def _on_a_node(results: Results, count: int, progress: "audit.Progress") -> None:
    """The head may have no GPU and no data; how far it is, the audit's journal says."""
    from tuner import nodes
    from tuner.analysis import audit

    nodes.check_room(results.sweep, concurrent=1)
    nodes.check_storage(results.sweep)

    def look() -> None:
        for what, done, total in audit.standing(results):
            progress(what, done, total)

    resources, data = results.sweep.resources, [_composed(results)]
    nodes.on_some(audit.run, results, count, resources=resources, data=data, seconds=None, meanwhile=look)


def _compare(arguments: argparse.Namespace) -> int:
    from tuner.analysis.comparison import check_alike, compare
    from tuner.analysis.noise import Noise, of_seeds

    sweeps = [found(path, ()) for path in arguments.sweeps]
    check_alike(sweeps)
    _check_data(sweeps)
    objective = sweeps[0].sweep.objective
    unknown = Noise(None, "not measured")
    noise = unknown if arguments.seeds is None else of_seeds(arguments.seeds, objective.metric, objective.mode)
    print("\n".join(comparison_lines(compare(sweeps, noise), sweeps)))
    return 0


def comparison_lines(known: Any, sweeps: Sequence[Results]) -> list[str]:
    """The verdict, then a line for each sweep at each budget."""
    from tuner.analysis import costs

    unit = {"hours": costs.unit(sweeps[0].sweep), "trials": "trials", "epochs": "epochs"}
    rows = [["budget", "sweep", "best", "90 % of resamples"]]
    for stand in known.stands:
        budget = f"{stand.budget:.2g}" if stand.axis == "hours" else f"{stand.budget:g}"
        spread = f"{text.number(stand.low)} to {text.number(stand.high)}"
        rows.append([f"{budget} {unit[stand.axis]}", stand.sweep, text.number(stand.best), spread])
    metric = sweeps[0].sweep.objective.metric
    return [*text.sentence(f"{metric}: {known.verdict}"), *text.table(rows, left=2)]


def _composed(results: Results) -> Any:
    from trainables.composition import compose

    return compose(results.sweep.fixed())


def _check_data(sweeps: Sequence[Results]) -> None:
    """UserError where two sweeps are validated on different images; how batches are drawn from them may differ."""
    first, *others = (
        {
            **{f"dataset.{key}": value for key, value in known.dataset.model_dump(exclude={"sampler"}).items()},
            "transform.test": known.transform.test,
        }
        for known in map(_composed, sweeps)
    )
    for results, other in zip(sweeps[1:], others, strict=True):
        for key, value in first.items():
            if other[key] != value:
                one, another = sweeps[0].sweep.name, results.sweep.name
                raise UserError(f"{one!r} has {key}={value}, {another!r} {other[key]}: they see different images")


def _write(path: Path | None, write: Callable[[Path], object]) -> None:
    if path is None:
        return
    try:
        write(path)
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror}") from None
