"""What a user writes as --address, and what may be behind it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from trainables.errors import UserError
from tuner.remote import address
from tuner.remote.dashboard import Dashboard, Token, check_versions


class Head(BaseHTTPRequestHandler):
    """Answers as Ray's dashboard does; the server says what it runs and which token it takes."""

    server: Any

    def do_GET(self) -> None:
        said = self.headers.get("Authorization")
        if self.path == "/api/authentication_mode":
            self._send(200, {"authentication_mode": "token"})
        elif said is None:
            self._send(401, "Unauthorized: Missing authentication token")
        elif said != "Bearer right":
            self._send(403, "Forbidden: Invalid authentication token")
        else:
            ray, python = self.server.versions
            self._send(200, {"data": {"rayVersion": ray, "pythonVersion": python}})

    def _send(self, code: int, body: Any) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments: Any) -> None:
        """Nothing on the tests' output."""


class Silent(Head):
    """Speaks HTTP, and is no Ray."""

    def do_GET(self) -> None:
        self._send(404, "not found")


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[HTTPServer] = []

    def start(handler: type[Head], ray: str = "2.60.0", python: str = "3.11.7") -> str:
        server: Any = HTTPServer(("127.0.0.1", 0), handler)
        server.versions = ray, python
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.remote.dashboard.version", lambda package: "2.60.0")
    monkeypatch.setattr("tuner.remote.dashboard.platform.python_version", lambda: "3.11.9")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")


def test_the_dashboard_itself(serve: Any, versions: None) -> None:
    place = serve(Head)
    for written in (place, f"http://{place}"):
        found = address.dashboard(written)
        assert found.url == f"http://{place}" and found.headers == {"Authorization": "Bearer right"}
        check_versions(found)  # another 3.11 is the same Python


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (("2.55.1", "3.11.7"), r"runs Ray 2.55.1, this machine 2.60.0: pip install 'ray==2.55.1'"),
        (("2.60.0", "3.12.1"), r"runs Python 3.12.1, this machine 3.11.9: both need the same 3.x"),
    ],
)
def test_another_version_is_refused(serve: Any, versions: None, runs: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_versions(address.dashboard(serve(Head, *runs)))


def test_tokens_that_are_missing_or_not_its_own(
    serve: Any, versions: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    place = serve(Head)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(UserError, match=r"--address 127\.0\.0\.1:\d+ refuses the token of RAY_AUTH_TOKEN"):
        check_versions(address.dashboard(place))
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(UserError, match="wants a token: RAY_AUTH_TOKEN"):
        check_versions(address.dashboard(place))
    (tmp_path / "token").write_text("right\n")
    check_versions(address.dashboard(place))
    assert Token.found() == Token("right", str(tmp_path / "token"))


def test_what_is_no_address_or_no_cluster(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in ("head", "head:port", "ftp://head:21", ""):
        with pytest.raises(UserError, match="is no address of a cluster: HOST:PORT"):
            address.dashboard(written)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:1: nothing answers there"):
        address.dashboard("127.0.0.1:1")
    monkeypatch.setattr(address, "_told_by_ray", lambda *asked: "")
    monkeypatch.setattr(address, "DASHBOARD_PORT", 1)
    with pytest.raises(UserError, match="answers, but not as the head of a Ray cluster"):
        address.dashboard(serve(Silent))


def test_behind_another_port_of_a_head(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other, dashboard = serve(Silent), serve(Head)
    monkeypatch.setattr(address, "_told_by_ray", lambda *asked: f"http://{dashboard}")
    for written in (other, f"ray://{other}"):
        assert address.dashboard(written).url == f"http://{dashboard}"
    # on the head's own loopback, and the head is another machine
    monkeypatch.setattr(address, "check_answers", lambda *asked: None)
    monkeypatch.setattr(address, "speaks_for_ray", lambda url: False)
    monkeypatch.setattr(address, "_told_by_ray", lambda *asked: "http://127.0.0.1:8265")
    with pytest.raises(UserError, match=r"`ssh -N -L 8265:127.0.0.1:8265 10.0.0.4`, then --address 127.0.0.1:8265"):
        address.dashboard("10.0.0.4:6379")


def test_without_a_token_nothing_is_said() -> None:
    assert Dashboard("http://here", None, "--address here").headers == {}
