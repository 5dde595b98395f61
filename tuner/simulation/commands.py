"""The commands `record` and `simulate`.

roadmap-tune record search_spaces/emoji.yaml      64 points, 16 epochs each: half an hour on two cores
roadmap-tune simulate search_spaces/emoji.yaml    minutes; --write docs/scheduling.md puts the table there
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trainables.errors import UserError

BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"


def write_into(file: Path, lines: Sequence[str]) -> None:
    """Replaces what stands between the two marks of the file."""
    before, after = marked(file)
    file.write_text("\n".join([before + BEGIN, *lines, END + after]))


def marked(file: Path) -> tuple[str, str]:
    """What stands before and after the marks; UserError where the file has none."""
    text = file.read_text() if file.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{file} has no {BEGIN} ... {END} to write between")
    return before, after


def default_file(sweep_file: str) -> Path:
    """search_spaces/emoji.yaml -> search_spaces/curves/emoji.csv"""
    file = Path(sweep_file)
    return file.parent / "curves" / f"{file.stem}.csv"


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", sweep: argparse.ArgumentParser
) -> None:
    """The commands `record` and `simulate`; `sweep` has the arguments that name a sweep."""
    record = commands.add_parser("record", parents=[sweep], help="train random points to the end, for `simulate`")
    record.add_argument("--trials", type=int, default=64, metavar="N", help="points, the presets' among them")
    record.add_argument("--epochs", type=int, default=16, metavar="N", help="of each")
    record.add_argument("--seeds", type=int, default=4, metavar="N", help="trainings of the presets' point")
    record.add_argument("--out", type=Path, metavar="CSV", help="default: curves/NAME.csv beside the sweep file")
    record.set_defaults(command=_record)
    told = commands.add_parser("simulate", parents=[sweep], help="schedulers and samplers on recorded curves")
    told.add_argument("--curves", type=Path, metavar="CSV", help="default: curves/NAME.csv beside the sweep file")
    told.add_argument("--repeats", type=int, default=200, metavar="N", help="simulated sweeps of each setting")
    told.add_argument("--trials", type=int, metavar="N", help="of each simulated sweep; default: every point")
    told.add_argument("--slots", type=int, default=2, metavar="N", help="trials at a time")
    told.add_argument("--write", type=Path, metavar="FILE", help=f"put the table between {BEGIN} and {END} of FILE")
    told.set_defaults(command=_simulate)


def _record(arguments: argparse.Namespace) -> int:
    from tuner.simulation.recording import record
    from tuner.sweep import load_sweep

    _above("--trials", arguments.trials, 1)
    _above("--epochs", arguments.epochs, 0)
    _above("--seeds", arguments.seeds, 1)
    sweep = load_sweep(arguments.sweep, arguments.settings)
    file = arguments.out or default_file(arguments.sweep)
    curves = record(sweep, trials=arguments.trials, epochs=arguments.epochs, seeds=arguments.seeds)
    curves.write(file)
    print(f"{len(curves.trials)} curves of {curves.epochs} epochs and {len(curves.repeats)} seeds: {file}")
    return 0


def _simulate(arguments: argparse.Namespace) -> int:
    from tuner.simulation.curves import Curves
    from tuner.simulation.savings import ROWS, report, simulate_row
    from tuner.sweep import load_sweep

    _above("--repeats", arguments.repeats, 1)
    _above("--slots", arguments.slots, 0)
    sweep = load_sweep(arguments.sweep, arguments.settings)
    curves = Curves.read(arguments.curves or default_file(arguments.sweep), sweep)
    trials = len(curves.trials) if arguments.trials is None else arguments.trials
    _above("--trials", trials, 0)
    if trials > len(curves.trials):
        raise UserError(f"--trials={trials}: {len(curves.trials)} points are recorded")
    if arguments.write is not None:
        marked(arguments.write)
    rows = []
    for row in ROWS:
        rows.append(simulate_row(sweep, curves, row, repeats=arguments.repeats, slots=arguments.slots, trials=trials))
        print(f"{len(rows)} of {len(ROWS)} settings", end="\r", file=sys.stderr)
    lines = report(curves, sweep.objective.mode, rows, arguments.slots)
    print("\n".join(lines))
    if arguments.write is not None:
        write_into(arguments.write, lines)
    return 0


def _above(option: str, value: int, least: int) -> None:
    if value <= least:
        raise UserError(f"{option}={value}: more than {least}")
