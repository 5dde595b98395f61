"""`roadmap-tune`: sweeps of ROADMAP trainings.

roadmap-tune run search_spaces/emoji.yaml      launch a sweep, follow it, rank its trials
roadmap-tune check search_spaces/emoji.yaml    everything that can be known before launch
roadmap-tune status search_spaces/emoji.yaml   where it stands, from any shell
roadmap-tune results search_spaces/emoji.yaml  every trial with its state and reason; --csv
roadmap-tune analysis search_spaces/emoji.yaml what matters, which ranges and budgets to change
roadmap-tune audit search_spaces/emoji.yaml    were winners stopped? a few trials run to their end
roadmap-tune compare a.yaml b.yaml             best so far at equal trials, epochs, device hours
roadmap-tune ui search_spaces/emoji.yaml       the MLflow UI on this machine
roadmap-tune data build emoji                  the data set, ready on this machine
roadmap-tune data check sop --root DIR         every image decoded, the bad ones named
roadmap-tune data info sop --root DIR          counts, sizes, fingerprint
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from trainables.errors import UserError
from tuner import datasets
from tuner.analysis import commands as analysis


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 trials failed, 2 the user's mistake, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except UserError as error:
        print(f"roadmap-tune: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("roadmap-tune: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roadmap-tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    sweep = argparse.ArgumentParser(add_help=False)
    sweep.add_argument("sweep", metavar="SWEEP", help="a sweep file")
    sweep.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="lay a value over the file's",
    )
    run = commands.add_parser("run", parents=[sweep], help="launch a sweep and follow it")
    run.add_argument("--resume", action="store_true", help="go on with an interrupted sweep")
    run.add_argument("--fresh", action="store_true", help="set an earlier sweep of this name aside and start over")
    run.set_defaults(command=_run)
    check = commands.add_parser("check", parents=[sweep], help="compose and check every part, launch nothing")
    check.set_defaults(command=_check)
    status = commands.add_parser("status", parents=[sweep], help="where a sweep stands")
    status.set_defaults(command=_status)
    ui = commands.add_parser("ui", help="serve the MLflow UI on this machine")
    ui.add_argument("sweep", metavar="SWEEP", nargs="?", default="search_spaces/emoji.yaml", help="a sweep file")
    ui.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(command=_ui)
    analysis.add_commands(commands, sweep)
    datasets.add_commands(commands)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from tuner.plan import make_plan
    from tuner.session import run_plan
    from tuner.summary import closing_lines
    from tuner.sweep import load_sweep

    plan = make_plan(load_sweep(arguments.sweep, arguments.settings))
    results, written = run_plan(plan, resume=arguments.resume, fresh=arguments.fresh)
    print("\n".join(closing_lines(plan, results, arguments.sweep)))
    if written.failed:
        print(f"warning: {written.failed} writes did not reach MLflow: {written.first_error}", file=sys.stderr)
    if sum(trial.ended for trial in results.trials) < plan.trials:
        print(f"interrupted: `roadmap-tune run {arguments.sweep} --resume` goes on", file=sys.stderr)
        return 130
    return 1 if any(trial.state == "failed" for trial in results.trials) else 0


def _check(arguments: argparse.Namespace) -> int:
    from tuner.plan import make_plan
    from tuner.summary import plan_lines
    from tuner.sweep import load_sweep

    print("\n".join(plan_lines(make_plan(load_sweep(arguments.sweep, arguments.settings)))))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from tuner.summary import status_lines
    from tuner.sweep import load_sweep

    print("\n".join(status_lines(load_sweep(arguments.sweep, arguments.settings))))
    return 0


def _ui(arguments: argparse.Namespace) -> int:
    from tuner.interface import serve
    from tuner.sweep import load_sweep

    return serve(load_sweep(arguments.sweep, arguments.settings), "127.0.0.1", arguments.port)


if __name__ == "__main__":
    sys.exit(main())
