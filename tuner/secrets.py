"""Addresses without passwords: what a sweep file says is repeated in journals, MLflow, logs and lists of processes."""

import os
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
WHO = re.compile(r"//[^/\s@'\"]+@")
ASSIGNED = re.compile(r"(\b\w*(?:passw\w*|secret\w*|token|access_key\w*|credentials?)=)[^\s&;,'\")]+", re.IGNORECASE)
SHORTEST = 8  # characters of a value that is looked for


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


class Mask:
    """Takes out of a text what the environment keeps secret, who asks in addresses, and what is named like a secret."""

    def __init__(self) -> None:
        own = (value for key, value in os.environ.items() if SECRET.search(key) and key not in ("PWD", "OLDPWD"))
        # the longest first: one may be a part of another; of a short one every other word would be a part
        self._values = sorted((value for value in own if len(value) >= SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, "***")
        return ASSIGNED.sub(r"\1***", WHO.sub("//***@", text))
