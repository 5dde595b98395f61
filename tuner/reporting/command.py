"""`roadmap-tune report SWEEP` and `roadmap-tune pictures SWEEP`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError

if TYPE_CHECKING:
    from tuner.reporting.contents import Contents
    from tuner.reporting.pictures import Pictures
    from tuner.results import Results

FOLDER, PAGE, FIGURES = "report", "report.html", "figures"


def add_commands(commands: Any, sweep: argparse.ArgumentParser) -> None:
    """sweep: the parser of SWEEP, --set and where it is, which they share with other commands."""
    report = commands.add_parser("report", parents=[sweep], help="one page: verdict, figures, every trial")
    report.add_argument("--out", type=Path, metavar="FOLDER", help="where to (the sweep's folder/report)")
    report.add_argument("--seeds", type=Path, metavar="CSV", help="repeated seeds, of `roadmap-tune record`")
    report.add_argument("--offline", action="store_true", help="leave MLflow alone")
    report.set_defaults(command=_report)
    pictures = commands.add_parser(
        "pictures", parents=[sweep], help="what the winner and the defaults find: queries, confused classes, maps"
    )
    pictures.add_argument("--offline", action="store_true", help="leave MLflow alone")
    pictures.set_defaults(command=_pictures)


def _report(arguments: argparse.Namespace) -> int:
    from tuner.analysis.commands import found

    results = found(arguments.sweep, arguments.settings)
    folder = arguments.out or results.sweep.folder / FOLDER
    made = made_of(results, arguments.seeds, arguments.sweep)
    write(made, folder)
    print(made.verdict)
    print(f"the report: {folder / PAGE}; its {len(made.figures)} figures: {folder / FIGURES}")
    if made.wanting:
        print(made.wanting)
    if not arguments.offline:
        _attach(results, folder, FOLDER)
    return 0


def _pictures(arguments: argparse.Namespace) -> int:
    from trainables.composition import compose
    from tuner import cluster, nodes
    from tuner.analysis.commands import found
    from tuner.reporting import drawing, pictures

    results = found(arguments.sweep, arguments.settings)
    folder = results.sweep.folder / pictures.FOLDER
    with cluster.joined(results.sweep, arguments.address):
        if cluster.is_joined():  # the head may have neither data nor a GPU
            nodes.check_room(results.sweep, concurrent=1)
            data = [compose(results.sweep.fixed())]
            resources = results.sweep.resources
            made, panels = nodes.on_some(_drawn, results, resources=resources, data=data, seconds=None)
        else:
            made, panels = _drawn(results)
    drawing.write(made, panels, folder)
    split = "the validation split" if made.fold is None else f"fold {made.fold}"
    for arm in made.arms:
        print(
            f"the {arm.role}, trial {arm.trial} at epoch {arm.epoch}, on {split}: "
            f"mAP@R {arm.map_at_r:.4f}, R@1 {arm.recall_at_1:.4f}"
        )
    print(f"the pictures: {folder}; `roadmap-tune report {arguments.sweep}` shows them")
    if not arguments.offline:
        _attach(results, folder, pictures.FOLDER)
    return 0


def _drawn(results: "Results") -> "tuple[Pictures, dict[str, bytes]]":
    from trainables.console import Bars
    from trainables.data import seal_test_splits
    from tuner.reporting import drawing

    seal_test_splits()
    with Bars(sys.stderr) as bars:
        return drawing.make(results, bars)


def _attach(results: "Results", folder: Path, place: str) -> None:
    """A copy in MLflow; a line where there is none."""
    from tuner import store
    from tuner.standing import existing

    launch = existing(results.sweep).journal.header["launch"]
    trouble = store.attach(results.sweep.tracking, results.sweep.name, launch, folder, place)
    if trouble:
        print(f"warning: not in MLflow: {trouble}", file=sys.stderr)


def made_of(results: "Results", seeds: Path | None, file: str) -> "Contents":
    """Everything the report of the sweep says, from its folder alone."""
    from trainables.composition import compose
    from tuner.analysis.noise import noise
    from tuner.analysis.report import report
    from tuner.confirmation.ledger import Ledger
    from tuner.reporting import pictures
    from tuner.reporting.contents import contents
    from tuner.standing import existing

    planned = compose(results.sweep.fixed()).experience.max_iter
    known = report(results, noise(results, seeds), planned)
    folder = results.sweep.folder
    shown = pictures.read(folder)
    drawn = [] if shown is None else pictures.embedded(folder, shown)
    return contents(results, known, Ledger.read(folder), existing(results.sweep).words(), file, shown, drawn)


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
