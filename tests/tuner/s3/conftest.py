"""S3 on this machine: moto's server, a bucket for each test; machines are folders for desks."""

import json
import platform
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from trainables import bucket
from tuner import lease, mirror
from tuner.places import ROOT
from tuner.sweep import Sweep, load_sweep


def request(server: str, path: str, method: str, body: bytes = b"") -> bytes:
    asked = urllib.request.Request(
        f"http://{server}{path}", data=body or None, method=method, headers={"Content-Type": "text/plain"}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return bytes(answer.read())


@pytest.fixture(scope="session")
def _server() -> Iterator[ThreadedMotoServer]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(_server: ThreadedMotoServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """HOST:PORT of an S3 that takes any key."""
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(lease, "SECONDS_TO_LOOK_AGAIN", 0.05)
    monkeypatch.setattr(mirror, "SECONDS_BETWEEN_COPIES", 0.02)
    monkeypatch.setattr(mirror, "SECONDS_BETWEEN_LOOKS", 0.05)
    host, port = _server.get_host_and_port()
    return f"{host}:{port}"


@pytest.fixture
def storage(server: str) -> str:
    """An empty folder of a bucket of its own."""
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    request(server, f"/{name}", "PUT")
    return f"s3://{name}/sweeps?endpoint_override={server}&scheme=http"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """From here on this process is on the machine of that name."""

    def move(name: str) -> None:
        monkeypatch.setenv(ROOT, str(tmp_path / name))
        monkeypatch.setattr(platform, "node", lambda: name)

    move("head")
    return move


@pytest.fixture
def stored(sweep_file: Path, storage: str, on: Callable[[str], None]) -> Sweep:
    """The small sweep, in S3."""
    return load_sweep(sweep_file, [f"storage={json.dumps(storage)}"])


def keys(place: str) -> list[str]:
    """Of the objects below the place, without markers of folders."""
    root = bucket.key(place)
    return sorted(found.path[len(root) + 1 :] for found in bucket.listed(place) if found.is_file)
