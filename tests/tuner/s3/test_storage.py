"""S3 as a place: what is refused in one line, checkpoints that come and go, a server that is away."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from tests.tuner.s3.conftest import keys, request
from trainables import bucket, trainable
from trainables.errors import UserError
from tuner import mirror, nodes, places, retention, session
from tuner.__main__ import main
from tuner.journal import Journal
from tuner.schema import Objective
from tuner.sweep import Sweep, load_sweep

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("s3://Bucket/x", r"storage='s3://Bucket/x': s3://BUCKET/FOLDER is meant"),
        ("s3://b/x", r"s3://BUCKET/FOLDER is meant"),
        ("s3://bucket/a/../b", r"s3://BUCKET/FOLDER is meant"),
        ("s3://bucket/x?endpoint=host", r"unknown option 'endpoint', did you mean 'endpoint_override'\?"),
        ("s3://bucket/x?scheme=ftp", r"scheme='ftp' is neither http nor https"),
        ("s3://bucket/" + "x" * 250, r"is too long"),
        ("gs://bucket/x", r"storage='gs://bucket/x': a folder is meant, or s3://BUCKET/FOLDER"),
        ("s3://key:hunter2@bucket/x", r"carries a password"),
        ("s3://bucket/x?access_key=hunter2", r"carries a password"),
    ],
)
def test_addresses_that_are_none(sweep_file: Path, storage: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        _ = load_sweep(sweep_file, [f"storage={json.dumps(storage)}"]).folder
    assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_one_folder_a_storage(sweep_file: Path, on: Callable[[str], None], tmp_path: Path) -> None:
    address = "s3://bucket/a/b/?region=eu-north-1"
    sweep = load_sweep(sweep_file, [f"storage={json.dumps(address)}"])
    assert sweep.folder.parent.parent == tmp_path / "head" / "desks" and sweep.folder.name == "small"
    assert "%" not in str(sweep.folder)
    assert places.storage_of(sweep.folder) == "s3://bucket/a/b?region=eu-north-1"
    assert places.home(sweep.folder) == "s3://bucket/a/b/small?region=eu-north-1"
    assert places.folder_at("s3://bucket/a/b/small?region=eu-north-1") == sweep.folder
    assert bucket.key(places.home(sweep.folder)) == "bucket/a/b/small"
    planted = tmp_path / "runs" / sweep.folder.parent.name / "small"
    assert places.home(planted) == str(planted), "a folder's name says nothing where it is no desk"


@pytest.mark.parametrize(
    ("environment", "change", "said"),
    [
        ({}, {"/sweeps": "-not/sweeps"}, "there is no such bucket"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, {}, "the credentials in the environment or the role of the machine"),
        ({"reader": "1"}, {}, "the credentials in the environment"),
        ({}, {"endpoint_override=127.0.0.1:": "endpoint_override=127.0.0.1:1&region=eu#"}, "it cannot be reached"),
    ],
    ids=["bucket", "key", "read-only", "server"],
)
def test_what_stands_against_a_launch_is_one_line(
    storage: str, server: str, tmp_path: Path, environment: dict[str, str], change: dict[str, str], said: str
) -> None:
    """In a process of its own, for the library keeps the credentials that it has found."""
    for before, after in change.items():
        storage = storage.replace(before, after).partition("#")[0]
    if environment.pop("reader", None):
        environment |= reader(server)
    request(server, "/moto-api/reset-auth", "POST", b"0" if environment else b"inf")
    code = (
        "from pathlib import Path; from tuner import mirror, places\n"
        f"mirror.check(places.folder_of({storage!r}, 'small'))"
    )
    environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT), "ROADMAP_TUNE_STORAGE": str(tmp_path)}
    try:
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    finally:
        request(server, "/moto-api/reset-auth", "POST", b"inf")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"trainables.errors.UserError: storage={storage!r}: ") and said in last
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["run", "resume", "status", "confirm"])
def test_a_command_ends_with_one_line(
    command: str, sweep_file: Path, on: Callable[[str], None], server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = f"s3://not-there/x?endpoint_override={server}&scheme=http"
    assert main([command, str(sweep_file), "--set", f"storage={json.dumps(storage)}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    said = (
        "there is no such bucket"
        if command in ("run", "resume")
        else "there is no sweep 'small' in s3://not-there/x/small"
    )
    assert line.startswith("roadmap-tune: ") and said in line


def reader(server: str) -> dict[str, str]:
    """Keys of a user that may read and not write."""
    import boto3

    iam = boto3.client("iam", endpoint_url=f"http://{server}", region_name="us-east-1")
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}


def test_a_launch_begins_with_the_check(stored: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(place: str, content: bytes) -> None:
        raise OSError("AWS Error ACCESS_DENIED during PutObject operation")

    monkeypatch.setattr(bucket, "write", refused)
    for resume in (True, False):
        with pytest.raises(UserError, match="the credentials in the environment"):
            session.planned(stored, resume=resume)
    assert not stored.folder.exists()


def test_a_folder_is_fetched_for_as_long_as_it_is_used(storage: str, tmp_path: Path) -> None:
    place = bucket.below(storage, "one", "checkpoint_000001")
    for name in ("training.ckpt", "deeper/other"):
        bucket.write(bucket.below(place, name), name.encode())
    assert bucket.exists(place) and not bucket.exists(bucket.below(storage, "none"))
    with bucket.local(place) as folder:
        assert (folder / "training.ckpt").read_bytes() == b"training.ckpt"
        assert (folder / "deeper" / "other").read_bytes() == b"deeper/other"
    assert not folder.exists()
    with pytest.raises(FileNotFoundError), bucket.local(bucket.below(storage, "none")):
        pass
    with bucket.local(tmp_path) as folder:
        assert folder == tmp_path
    bucket.remove(place)
    bucket.remove(place)
    assert not bucket.exists(place) and keys(storage) == []


def with_checkpoints(journal: Journal, values: list[float]) -> list[str]:
    made = []
    for epoch, value in enumerate(values, start=1):
        journal.write("report", trial=0, epoch=epoch, metrics={"val/map_at_r": value})
        path = f"launch-1/trial-0000-0/checkpoint_{epoch:06d}"
        bucket.write(bucket.below(journal.home, path, "training.ckpt"), b"x")
        journal.write("checkpoint", trial=0, epoch=epoch, path=journal.named(f"{bucket.key(journal.home)}/{path}"))
        made.append(path)
    return made


def test_old_checkpoints_go_when_the_copy_of_the_journal_is_past_them(
    stored: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(stored.folder)
    journal.open()
    journal.write("point", trial=0, point={})
    with_checkpoints(journal, [0.1, 0.4, 0.3])
    order: list[str] = []
    write, remove = bucket.write, bucket.remove
    kept = mirror.Mirror(journal.folder, print)
    kept.open()
    monkeypatch.setattr(bucket, "write", lambda place, content: (order.append(place), write(place, content)))
    monkeypatch.setattr(bucket, "remove", lambda place: (order.append(place), remove(place)))
    journal.write("report", trial=0, epoch=4, metrics={"val/map_at_r": 0.2})
    for _ in range(2):
        retention.prune(journal.trials[0], Objective(), (), kept.discard)
    kept.close()
    removed = [place for place in order if "checkpoint_" in place]
    assert removed == [journal.trials[0].checkpoints[1]] and "journal" in order[0]
    left = sorted(bucket.folders(journal.home, retention.CHECKPOINTS))
    assert left == [journal.trials[0].checkpoints[2], journal.trials[0].checkpoints[3]]

    journal.write("end", trial=0, state="finished", reason="")  # and the driver is killed
    stray = bucket.below(journal.home, "launch-1/trial-0001-0/checkpoint_000000")
    bucket.write(bucket.below(stray, "training.ckpt"), b"x")
    gone = retention.remove_strays(journal, Objective())
    assert bucket.folders(journal.home, retention.CHECKPOINTS) == [journal.trials[0].checkpoints[2]]
    assert gone == {journal.trials[0].checkpoints[1], journal.trials[0].checkpoints[3]}
    journal.close()


def test_every_node_writes_there(stored: Sweep, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_each(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        return {"10.0.0.1": function(*arguments), "10.0.0.2": told or function(*arguments)}

    told: dict[str, str] = {}
    monkeypatch.setattr(nodes, "on_each", on_each)
    nodes.check_storage(stored)
    assert keys(storage) == []
    told = {"name": "other", "error": "there is no such bucket"}
    with pytest.raises(UserError, match=r"node 10.0.0.2 does not share s3://bucket-\w+/sweeps \(there is no such"):
        nodes.check_storage(stored)
    told = {"name": "other", "error": ""}
    with pytest.raises(UserError, match=r"\(what it writes there is not seen here\): all nodes need one bucket"):
        nodes.check_storage(stored)
    assert keys(storage) == []


class Stored:
    """Of Ray's storage: where the next checkpoint goes."""

    def __init__(self, place: str) -> None:
        self.place, self.current_checkpoint_index = place, -1


def test_a_checkpoint_waits_while_the_server_is_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server of its own, stopped, and back after two tries; moto keeps what it had."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    request(f"{host}:{port}", "/away-bucket", "PUT")
    storage = Stored(f"s3://away-bucket/x?endpoint_override={host}:{port}&scheme=http")
    tried: list[int] = []

    def save(self: Any, folder: str) -> int:
        storage.current_checkpoint_index += 1
        tried.append(storage.current_checkpoint_index)
        bucket.write(bucket.below(storage.place, f"checkpoint_{storage.current_checkpoint_index}"), b"weights")
        return storage.current_checkpoint_index

    monkeypatch.setattr(trainable.tune.Trainable, "save", save)
    one = object.__new__(trainable.RetrievalTrainable)
    one._storage = storage  # type: ignore[assignment]
    assert one.save() == 0
    server.stop()

    def back(seconds: float) -> None:
        nonlocal server
        if len(tried) == 3:
            server = ThreadedMotoServer(ip_address=host, port=port, verbose=False)
            server.start()

    monkeypatch.setattr(time, "sleep", back)
    assert one.save() == 1 and tried == [0, 1, 1, 1]
    assert bucket.read(bucket.below(storage.place, "checkpoint_1")) == b"weights"
    server.stop()


class Closed(BaseHTTPRequestHandler):
    """An S3 that knows nobody; moto fails where a request is not signed."""

    def do_PUT(self) -> None:
        self.send_response(403)
        self.end_headers()

    def log_message(self, *told: Any) -> None:
        """Nothing."""


def test_no_credentials_at_all(server: str, on: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    closed = ThreadingHTTPServer(("127.0.0.1", 0), Closed)
    threading.Thread(target=closed.serve_forever, daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    storage = f"s3://bucket/x?endpoint_override=127.0.0.1:{closed.server_port}&scheme=http"
    with pytest.raises(UserError, match="the credentials in the environment or the role of the machine are missing"):
        mirror.check(places.folder_of(storage, "small"))
    closed.shutdown()
    closed.server_close()


def test_causes_are_told_in_a_few_words() -> None:
    assert bucket.cause(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert bucket.cause(OSError("x\ny")) == "x"
