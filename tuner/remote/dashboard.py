"""The HTTP side of a cluster's head: who answers there, whether it takes our token, what it runs."""

import json
import os
import platform
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainables.errors import UserError

SECONDS_TO_ANSWER = 5.0
TOKEN_FILE = "~/.ray/auth_token"


class NoHttp(Exception):
    """Something listens there and does not speak HTTP."""


@dataclass(frozen=True)
class Token:
    """The shared secret of a Ray cluster, and where it was found."""

    value: str
    source: str

    @classmethod
    def found(cls) -> "Token | None":
        """Where Ray itself looks, in its order: $RAY_AUTH_TOKEN, the file $RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
        value = os.environ.get("RAY_AUTH_TOKEN", "").strip()
        if value:
            return cls(value, "RAY_AUTH_TOKEN")
        named = os.environ.get("RAY_AUTH_TOKEN_PATH")
        file = Path(named or TOKEN_FILE).expanduser()
        if not file.is_file():
            return None
        return cls(file.read_text().strip(), named or TOKEN_FILE)


@dataclass(frozen=True)
class Dashboard:
    """url: http://HOST:PORT. token: None where the cluster asks for none. named: how the user wrote it."""

    url: str
    token: Token | None
    named: str

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token.value}"}

    @property
    def versions(self) -> tuple[str, str]:
        """Of Ray and Python on the head; UserError where it refuses us."""
        data = self._get("/api/v0/cluster_metadata")["data"]
        return str(data["rayVersion"]), str(data["pythonVersion"])

    def _get(self, path: str) -> dict[str, Any]:
        try:
            return fetched(self.url + path, self.headers)
        except urllib.error.HTTPError as error:
            if error.code == 401:
                raise UserError(
                    f"{self.named} wants a token: RAY_AUTH_TOKEN, or the head's {TOKEN_FILE} in the same place here"
                ) from None
            if error.code == 403 and self.token is not None:
                raise UserError(f"{self.named} refuses the token of {self.token.source}: it is not its own") from None
            raise UserError(f"{self.named} answers {error.code} {error.reason} for {path}") from None


def fetched(url: str, headers: dict[str, str]) -> dict[str, Any]:
    """The JSON there. OSError: nobody answers in time; NoHttp: who answers is no Ray; HTTPError: it says no."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS_TO_ANSWER) as answer:
            return dict(json.load(answer))
    except (HTTPException, ConnectionResetError, ValueError) as error:
        raise NoHttp(str(error)) from None


def speaks_for_ray(url: str) -> bool:
    """Whether a Ray head's dashboard is there: it tells how it authenticates to everybody. OSError as above."""
    try:
        return "authentication_mode" in fetched(f"{url}/api/authentication_mode", {})
    except (NoHttp, urllib.error.HTTPError):
        return False


def check_versions(dashboard: Dashboard) -> None:
    """UserError where the cluster runs another Ray, or another Python than this one (3.11 and 3.12 are others).

    What this machine pickles, and the code it ships, the cluster has to run.
    """
    ray, python = dashboard.versions
    ours = version("ray"), platform.python_version()
    if ray != ours[0]:
        raise UserError(f"{dashboard.named} runs Ray {ray}, this machine {ours[0]}: pip install 'ray=={ray}'")
    if python.split(".")[:2] != ours[1].split(".")[:2]:
        raise UserError(f"{dashboard.named} runs Python {python}, this machine {ours[1]}: both need the same 3.x")
