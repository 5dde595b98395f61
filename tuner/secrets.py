"""Addresses without passwords: what a sweep file says is repeated in journals, MLflow and lists of processes."""

import re
from urllib.parse import parse_qsl

from trainables.environment import SECRET
from trainables.errors import UserError

INSTEAD = {
    "http": "the environment gives MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    "postgresql": "the environment gives PGPASSWORD",
    "mysql": "?read_default_file=~/.my.cnf gives it",
    "s3": "the environment gives AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}
NAMED = re.compile(r"pass|pwd|secret|token|access_key|credential", re.IGNORECASE)


def safe(address: str) -> str:
    """The address without who asks, and without anything behind a question mark."""
    return re.sub(r"//.*@", "//***@", address.partition("?")[0])


def check_address(key: str, address: str) -> None:
    """UserError where an address carries a password."""
    place, _, query = address.partition("?")
    scheme = place.partition(":")[0].partition("+")[0].removesuffix("s")
    who, at, _ = place.partition("://")[2].rpartition("@")
    named = any(NAMED.search(name) for name, _ in parse_qsl(query, keep_blank_values=True))
    # a server over http needs no name either: MLflow takes both from the environment
    if named or (at and (":" in who or scheme == "http")):
        instead = INSTEAD.get(scheme, "the environment gives it")
        raise UserError(f"{key}={safe(address)!r} carries a password, which a sweep file never does: {instead}")


def keep_from_arguments() -> None:
    """Ray Tune hands some variables, AWS's keys among them, to its workers by their command lines, which every user of
    a machine can read, and Ray writes those to a log. Workers have the environment of their node.
    """
    from ray.tune.execution import class_cache

    handed = class_cache.ENV_VARS_TO_PROPAGATE
    handed.difference_update([name for name in handed if SECRET.search(name)])
