"""`roadmap-tune confirm SWEEP`."""

import argparse
import sys
from typing import Any

from trainables.errors import UserError


def add_command(commands: Any, reachable: argparse.ArgumentParser) -> None:
    """reachable: the parser of SWEEP, --set and the options of a cluster, which it shares with other commands."""
    confirm = commands.add_parser(
        "confirm", parents=[reachable], help="the winner and the presets over fresh seeds, then the test split, once"
    )
    confirm.add_argument("--arms", type=int, help="how many of the best points (confirm.arms)")
    confirm.add_argument("--seeds", type=int, help="from how many fresh seeds each (confirm.seeds)")
    confirm.add_argument("--again", action="store_true", help="although the test split has been seen")
    confirm.add_argument("--now", action="store_true", help="although the sweep has not ended")
    confirm.set_defaults(command=_confirm)


def _confirm(arguments: argparse.Namespace) -> int:
    from tuner import cluster
    from tuner.confirmation.confirmation import confirm
    from tuner.confirmation.summary import closing_lines
    from tuner.sweep import load_sweep

    for option, least in (("arms", 1), ("seeds", 2)):
        value = getattr(arguments, option)
        if value is not None and value < least:
            raise UserError(f"--{option}={value}: it must be a whole number from {least}")
    sweep = load_sweep(arguments.sweep, arguments.settings)
    with cluster.joined(sweep, arguments.address):
        ledger, written = confirm(
            sweep, arms=arguments.arms, seeds=arguments.seeds, again=arguments.again, now=arguments.now
        )
    print("\n".join(closing_lines(sweep, ledger, arguments.sweep)))
    if written.failed:
        print(f"warning: {written.failed} writes did not reach MLflow: {written.first_error}", file=sys.stderr)
    newest = ledger.confirmations[-1]
    return 0 if newest.complete else 1 if newest.failed else 130
