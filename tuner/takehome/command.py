"""`roadmap-tune export SWEEP`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.remote.options import add_options

if TYPE_CHECKING:
    from trainables.exported.writing import Written
    from tuner.takehome.choice import Choice
    from tuner.takehome.registry import Entry

FOLDER = "export"
HERE = "it is made on the machine that has the sweep's folder and the data"


def add_command(commands: Any, sweep: argparse.ArgumentParser) -> None:
    """sweep: the parser of SWEEP and --set, which it shares with other commands."""
    export = commands.add_parser(
        "export",
        parents=[sweep],
        help="the winner as a folder: weights, ONNX, transform, model card; in MLflow's registry",
    )
    export.add_argument("--out", type=Path, metavar="DIR", help="where to (the sweep's folder/export)")
    export.add_argument("--trial", type=int, metavar="N", help="that trial instead of the winner")
    export.add_argument("--no-register", action="store_true", help="leave MLflow alone")
    add_options(export)
    export.set_defaults(command=_export, here=HERE)


def _export(arguments: argparse.Namespace) -> int:
    from trainables import bucket
    from trainables.console import Bars
    from trainables.exported.card import card
    from trainables.exported.writing import check_out, export
    from tuner.analysis.commands import found
    from tuner.confirmation.ledger import Ledger
    from tuner.takehome.choice import chosen
    from tuner.takehome.origin import origin_of

    results = found(arguments.sweep, arguments.settings)
    choice = chosen(results, Ledger.read(results.sweep.folder), arguments.trial, arguments.sweep)
    number = "" if arguments.trial is None else f"-trial-{choice.trial.id}"
    folder = arguments.out or results.sweep.folder / f"{FOLDER}{number}"
    check_out(folder)
    print(choice.why)
    with Bars(sys.stderr) as bars:
        bars.line("measuring raw pixels on the validation images, for the model card")
        origin = origin_of(choice, arguments.sweep)
        with bucket.local(choice.place) as here:
            written = export(here / choice.file, folder, lambda made: card(made, origin), bars)
    print("\n".join(written.lines()))
    if not arguments.no_register:
        _register(choice, written)
    return 0


def _register(choice: "Choice", written: "Written") -> None:
    from trainables.console import near
    from tuner import secrets, store
    from tuner.takehome.registry import register

    sweep, entry = choice.results.sweep, _entry(choice, written)
    registered = register(entry, sweep.tracking)
    if registered.trouble:
        print(f"warning: not registered in MLflow: {registered.trouble}", file=sys.stderr)
        return
    print(f"registered in MLflow: {entry.name} version {registered.version}, alias {entry.alias}; to serve it:")
    uri, programs = secrets.safe(store.absolute(sweep.tracking)), near(Path(sys.executable).parent)
    serve = f"mlflow models serve -m models:/{entry.name}@{entry.alias} --env-manager local --port 5001"
    print(f"  PATH={programs}:$PATH MLFLOW_TRACKING_URI={uri} {serve}")  # MLflow looks for its server on the path


def _entry(choice: "Choice", written: "Written") -> "Entry":
    from tuner.takehome.registry import Entry

    sweep = choice.results.sweep
    tags = {
        "sweep": sweep.name,
        "trial": choice.trial.id,
        "fingerprint": written.fingerprint,
        "data": written.experiment.dataset.name,
        "data_fingerprint": written.dataset.fingerprint,
        "confirmed": str(choice.confirmed).lower(),
        "metric": choice.metric,
        "value": f"{choice.value:.6f}",
        "dims": str(written.dims),
    }
    if choice.confirmation is not None:
        tags["verdict"] = "; ".join(verdict.sentence() for verdict in choice.confirmation.verdicts or ())
    best = choice.results.best_metrics(choice.trial)
    measured = best if choice.repeat is None else choice.repeat.test or {}
    return Entry(written.folder, sweep.name, choice.why, tags, measured, choice.confirmed)
