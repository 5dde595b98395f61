"""What a user writes as --address -> the dashboard of that cluster.

127.0.0.1:8265, http://10.0.0.4:8265      the dashboard itself, such as the near end of a tunnel
10.0.0.4:6379                             the head's GCS, as `ray start --head` prints it
ray://10.0.0.4:10001                      Ray Client's port
"""

import os
import socket
import subprocess
import sys
from urllib.parse import urlsplit

from trainables.errors import UserError
from tuner.remote.dashboard import SECONDS_TO_ANSWER, Dashboard, Token, speaks_for_ray

DASHBOARD_PORT = 8265
SECONDS_TO_ASK_RAY = 30.0
FORMS = "HOST:PORT, http://HOST:PORT or ray://HOST:PORT"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Ray's own way from any address to the dashboard; in a child, since Ray aborts the process where the token is missing
ASK_RAY = "import sys; from ray.dashboard.utils import get_address_for_submission_client as f; print(f(sys.argv[1]))"


def dashboard(written: str) -> Dashboard:
    """UserError in one line, after seconds, where no Ray head is there."""
    scheme, host, port = parts(written)
    named = f"--address {written}"
    check_answers(named, host, port)
    url = f"{scheme if scheme == 'https' else 'http'}://{_bracketed(host)}:{port}"
    if not speaks_for_ray(url):
        url = _beside(named, written, scheme, host, port)
    return Dashboard(url, Token.found(), named)


def parts(written: str) -> tuple[str, str, int]:
    """(scheme or "", host, port); UserError where it is no address."""
    scheme, separator, _ = written.rpartition("://")
    try:
        read = urlsplit(written if separator else f"//{written}")
        host, port = read.hostname, read.port
    except ValueError:
        host = port = None
    if scheme not in ("", "http", "https", "ray") or host is None or port is None:
        raise UserError(f"--address {written!r} is no address of a cluster: {FORMS}")
    return scheme, host, port


def check_answers(named: str, host: str, port: int) -> None:
    """UserError where nothing takes a connection within seconds."""
    try:
        socket.create_connection((host, port), timeout=SECONDS_TO_ANSWER).close()
    except TimeoutError:
        raise UserError(
            f"{named}: no answer within {SECONDS_TO_ANSWER:g} s; is it up, is a firewall between?"
        ) from None
    except OSError as error:
        raise UserError(f"{named}: nothing answers there ({error.strerror or error})") from None


def _beside(named: str, written: str, scheme: str, host: str, port: int) -> str:
    """The dashboard of a head whose other port we were given: where Ray says, else in its usual place."""
    told = _told_by_ray(written, scheme, host, port)
    if not told:  # no token, for one, which the dashboard says in words
        usual = f"http://{_bracketed(host)}:{DASHBOARD_PORT}"
        if _answers_as_ray(usual):
            return usual
        raise UserError(f"{named} answers, but not as the head of a Ray cluster: {FORMS}")
    behind = urlsplit(told)
    if behind.hostname in LOOPBACK and host not in LOOPBACK:
        tunnel = f"ssh -N -L {DASHBOARD_PORT}:127.0.0.1:{behind.port} {host}"
        raise UserError(
            f"{named}: its dashboard listens on the head's loopback alone: `{tunnel}`, then --address "
            f"127.0.0.1:{DASHBOARD_PORT}; or --cluster FILE"
        )
    if not _answers_as_ray(told):
        raise UserError(f"{named}: its dashboard {told} cannot be reached from this machine")
    return told


def _answers_as_ray(url: str) -> bool:
    try:
        return speaks_for_ray(url)
    except OSError:
        return False


def _told_by_ray(written: str, scheme: str, host: str, port: int) -> str:
    """What Ray finds behind a GCS or Ray Client port; "" where it finds nothing in time."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    }
    if Token.found() is not None:
        environment.setdefault("RAY_AUTH_MODE", "token")
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK_RAY, written if scheme == "ray" else f"{_bracketed(host)}:{port}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_ASK_RAY,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    lines = done.stdout.split()
    return lines[-1] if done.returncode == 0 and lines and lines[-1].startswith("http") else ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
