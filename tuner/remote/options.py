"""--address and --cluster: on which cluster a command is to happen."""

import argparse

from trainables.errors import UserError
from tuner import cluster


def add_options(parser: argparse.ArgumentParser) -> None:
    """--address and --cluster, on every command that a cluster can do."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--address", metavar="HOST:PORT", help=f"on that Ray cluster, also ray://...; {cluster.HERE}: this machine's"
    )
    place.add_argument("--cluster", metavar="FILE", help="on the cluster that `ray up FILE` started, through ssh")


def check_reachable(arguments: argparse.Namespace, command: str) -> None:
    """UserError for a command that happens on this machine alone: `here` says why."""
    why = getattr(arguments, "here", None)
    if why is not None:
        raise UserError(f"{command} takes no --address or --cluster: {why}")


def is_elsewhere(arguments: argparse.Namespace) -> bool:
    """Whether the command is one for a cluster that this machine is no node of."""
    address = getattr(arguments, "address", None)
    return getattr(arguments, "cluster", None) is not None or address not in (None, cluster.HERE)
