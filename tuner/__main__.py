"""`roadmap-tune`: sweeps of ROADMAP trainings.

roadmap-tune run search_spaces/emoji.yaml      launch a sweep, follow it, rank its trials
roadmap-tune check search_spaces/emoji.yaml    everything that can be known before launch
roadmap-tune status search_spaces/emoji.yaml   where it stands, from any shell or machine; --follow
roadmap-tune logs search_spaces/emoji.yaml     its log; --follow
roadmap-tune stop search_spaces/emoji.yaml     running trials end their epoch; `resume` goes on
roadmap-tune extend search_spaces/emoji.yaml --trials 8
roadmap-tune retry search_spaces/emoji.yaml --failed
roadmap-tune concurrent search_spaces/emoji.yaml 4
roadmap-tune confirm search_spaces/emoji.yaml  its winner and the presets over fresh seeds, then the test split, once
roadmap-tune report search_spaces/emoji.yaml   one page: the verdict, figures, every trial
roadmap-tune pictures search_spaces/emoji.yaml what the winner and the defaults find, right and wrong
roadmap-tune export search_spaces/emoji.yaml   the winner as a folder that anybody can open, and in MLflow's registry
roadmap-tune index PICTURES --model runs/emoji/export      a folder of pictures as a faiss index of its embeddings
roadmap-tune search PICTURES.index PHOTO       the nearest of them, printed and drawn
roadmap-tune results search_spaces/emoji.yaml  every trial with its state and reason; --csv
roadmap-tune analysis search_spaces/emoji.yaml what matters, which ranges and budgets to change
roadmap-tune audit search_spaces/emoji.yaml    were winners stopped? a few trials run to their end
roadmap-tune compare a.yaml b.yaml             best so far at equal trials, epochs, device hours
roadmap-tune ui                                the MLflow UI on this machine, of the newest sweep or the one named
roadmap-tune track search_spaces/emoji.yaml    what MLflow could not take while the sweep ran, from the journal
roadmap-tune record search_spaces/emoji.yaml   random points trained to the end, for `simulate`
roadmap-tune simulate search_spaces/emoji.yaml what samplers and schedulers save and lose on recorded points
roadmap-tune data build emoji                  the data set, ready on this machine
roadmap-tune data check sop --root DIR         every image decoded, the bad ones named
roadmap-tune data info sop --root DIR          counts, sizes, fingerprint
roadmap-tune data unpack emoji --out DIR       its pictures as files, a folder for each class
roadmap-tune data stage search_spaces/emoji.yaml   a sweep's data sets, here or on every node of a cluster, made once

With --address HOST:PORT (of a Ray cluster) or --cluster FILE (of `ray up FILE`) run, resume, extend, retry, status,
logs, stop, concurrent, track, confirm, audit, results, analysis, report, pictures and ui happen there:
docs/cluster/README.md.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from trainables.errors import UserError
from tuner import commands, datasets
from tuner.analysis import commands as analysis
from tuner.confirmation.command import add_command as add_confirm
from tuner.remote import options
from tuner.reporting import command as reporting
from tuner.simulation import commands as simulation
from tuner.takehome import search
from tuner.takehome.command import add_command as add_export


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done or the budget used up, 1 trials failed, 2 the user's mistake, 130 interrupted."""
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        if options.is_elsewhere(arguments):
            options.check_reachable(arguments, words[0])
            from tuner.remote.commands import carry_out

            return carry_out(arguments, words)
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
    add = parser.add_subparsers(required=True, metavar="COMMAND")
    sweep = argparse.ArgumentParser(add_help=False)
    sweep.add_argument("sweep", metavar="SWEEP", help="a sweep file; a sweep's folder where nothing is launched")
    sweep.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="lay a value over the file's",
    )
    reachable = argparse.ArgumentParser(add_help=False, parents=[sweep])
    options.add_options(reachable)
    launch = argparse.ArgumentParser(add_help=False, parents=[reachable])
    launch.add_argument("--detach", action="store_true", help="in a session of its own: the shell may go")
    shown = "what Ray and its workers write, too; lines instead of the table"
    launch.add_argument("-v", "--verbose", action="store_true", help=shown)
    _add_launches(add, launch)
    _add_check(add, sweep)
    _add_looks(add, reachable)
    add_confirm(add, reachable)
    reporting.add_commands(add, reachable)
    add_export(add, sweep)
    search.add_commands(add)
    analysis.add_commands(add, reachable)
    simulation.add_commands(add, sweep)
    datasets.add_commands(add, reachable)
    return parser


def _add_launches(add: Any, launch: argparse.ArgumentParser) -> None:
    run = add.add_parser("run", parents=[launch], help="launch a sweep and follow it")
    run.add_argument("--resume", action="store_true", help="go on with an interrupted sweep")
    run.add_argument("--fresh", action="store_true", help="set an earlier sweep of this name aside and start over")
    run.set_defaults(command=commands.run)
    resume = add.add_parser("resume", parents=[launch], help="go on with an interrupted sweep")
    resume.set_defaults(command=commands.run, resume=True, fresh=False)
    extend = add.add_parser("extend", parents=[launch], help="more trials or hours, and go on")
    extend.add_argument("--trials", type=_positive(int), metavar="N")
    extend.add_argument("--hours", type=_positive(float), metavar="H")
    extend.add_argument("--gpu-hours", type=_positive(float), metavar="H")
    extend.set_defaults(command=commands.extend)
    retry = add.add_parser("retry", parents=[launch], help="trials that ended badly go on from their last checkpoint")
    retry.add_argument("--failed", action="store_true", help="those that an error ended")
    retry.add_argument("--lost", action="store_true", help="those whose worker or node was gone too often")
    retry.add_argument("--infeasible", action="store_true", help="those that diverged, ran out of memory, did not fit")
    retry.set_defaults(command=commands.retry)


def _add_check(add: Any, sweep: argparse.ArgumentParser) -> None:
    check = add.add_parser("check", parents=[sweep], help="compose and check every part, launch nothing")
    check.add_argument("--no-probe", action="store_true", help="do not train a few batches to say how long it takes")
    check.set_defaults(command=commands.check)


def _add_looks(add: Any, sweep: argparse.ArgumentParser) -> None:
    status = add.add_parser("status", parents=[sweep], help="where a sweep stands")
    status.add_argument("--follow", action="store_true", help="until it ends")
    status.set_defaults(command=commands.status)
    logs = add.add_parser("logs", parents=[sweep], help="what a sweep said, and Ray with it")
    logs.add_argument("--follow", action="store_true", help="until it ends")
    logs.set_defaults(command=commands.logs)
    stop = add.add_parser("stop", parents=[sweep], help="end a running sweep once its epochs have ended")
    stop.add_argument("--now", action="store_true", help="at once: the epochs that run are lost")
    stop.set_defaults(command=commands.stop)
    concurrent = add.add_parser("concurrent", parents=[sweep], help="another number of trials at a time")
    concurrent.add_argument("number", type=int, metavar="N")
    concurrent.set_defaults(command=commands.concurrent)
    track = add.add_parser("track", parents=[sweep], help="write into MLflow what it could not take")
    track.set_defaults(command=commands.track)
    ui = add.add_parser("ui", help="serve the MLflow UI on this machine")
    ui.add_argument("sweep", metavar="SWEEP", nargs="?", help="a sweep file or a sweep's folder; the newest one here")
    ui.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    options.add_options(ui)
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(command=commands.ui)


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text}: a number above 0")
        return value

    read.__name__ = kind.__name__
    return read


if __name__ == "__main__":
    sys.exit(main())
