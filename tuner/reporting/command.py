"""`roadmap-tune report SWEEP`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError

if TYPE_CHECKING:
    from tuner.reporting.contents import Contents
    from tuner.results import Results

FOLDER, PAGE, FIGURES = "report", "report.html", "figures"


def add_command(commands: Any, sweep: argparse.ArgumentParser) -> None:
    """sweep: the parser of SWEEP and --set, which it shares with other commands."""
    report = commands.add_parser("report", parents=[sweep], help="one page: verdict, figures, every trial")
    report.add_argument("--out", type=Path, metavar="FOLDER", help="where to (the sweep's folder/report)")
    report.add_argument("--seeds", type=Path, metavar="CSV", help="repeated seeds, of `roadmap-tune record`")
    report.add_argument("--offline", action="store_true", help="leave MLflow alone")
    report.set_defaults(command=_report)


def _report(arguments: argparse.Namespace) -> int:
    from tuner import store
    from tuner.analysis.commands import found
    from tuner.standing import existing

    results = found(arguments.sweep, arguments.settings)
    folder = arguments.out or results.sweep.folder / FOLDER
    made = made_of(results, arguments.seeds, arguments.sweep)
    write(made, folder)
    print(made.verdict)
    print(f"the report: {folder / PAGE}; its {len(made.figures)} figures: {folder / FIGURES}")
    if not arguments.offline:
        launch = existing(results.sweep).journal.header["launch"]
        trouble = store.attach(results.sweep.tracking, results.sweep.name, launch, folder, FOLDER)
        if trouble:
            print(f"warning: not in MLflow: {trouble}", file=sys.stderr)
    return 0


def made_of(results: "Results", seeds: Path | None, file: str) -> "Contents":
    """Everything the report of the sweep says, from its folder alone."""
    from trainables.composition import compose
    from tuner.analysis.noise import noise
    from tuner.analysis.report import report
    from tuner.confirmation.ledger import Ledger
    from tuner.reporting.contents import contents
    from tuner.standing import existing

    planned = compose(results.sweep.fixed()).experience.max_iter
    known = report(results, noise(results, seeds), planned)
    return contents(results, known, Ledger.read(results.sweep.folder), existing(results.sweep).words(), file)


def write(made: "Contents", folder: Path) -> None:
    """The page, and a PNG of each of its figures; UserError where the folder cannot be written to."""
    from tuner.reporting.page import write_page

    try:
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        for figure in made.figures:
            figure.write(folder / FIGURES)
        write_page(made, folder / PAGE)
    except OSError as error:
        raise UserError(f"cannot write the report to {str(folder)!r}: {error.strerror}") from None
