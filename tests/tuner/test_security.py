"""docs/security.md, line by line: what a file from somebody else, or somebody else on the machine, cannot do."""

import ast
import contextlib
import http.client
import io
import os
import pickle
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml

from trainables import checkpoint, compose
from trainables.data import emoji_packages
from trainables.data.cached_images import INDEX, META, PIXELS, CachedImages, CacheUnusable
from trainables.data.emoji_packages import FILES, Package
from trainables.data.sources import ArrayImages
from trainables.errors import UserError
from tuner import requests, secrets
from tuner.confirmation.values import read_values
from tuner.failures import last_failure
from tuner.journal import FILE, Journal
from tuner.sweep import Sweep, load_sweep

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted([*ROOT.glob("trainables/**/*.py"), *ROOT.glob("tuner/**/*.py")])
UNPICKLERS = ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
RUNNERS = ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load")
PASSWORDS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN")


class Runs:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


# -- code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SOURCES, ids=str)
def test_no_source_has_a_door_for_code(file: Path) -> None:
    """The one unpickler is that of data/pickles.py, which knows no name that does anything."""
    for node in ast.walk(ast.parse(file.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {module.partition(".")[0] for module in modules} & set(UNPICKLERS) or file.name == "pickles.py"
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
        assert called not in RUNNERS and "shell" not in given and "trust_remote_code" not in given
        if called == "torch.load":
            assert given["weights_only"] == "True"
        if called == "np.load":
            assert given["allow_pickle"] == "False"


def _as_checkpoint(folder: Path, evil: Runs) -> Callable[[], Any]:
    torch.save({"format": checkpoint.FORMAT, "net": evil}, folder / "training.ckpt")
    return lambda: checkpoint.read(folder / "training.ckpt")


def _as_array(folder: Path, evil: Runs) -> Callable[[], Any]:
    np.save(folder / "images.npy", np.array([evil]), allow_pickle=True)
    return lambda: ArrayImages(folder / "images.npy")


def _as_cached_pixels(folder: Path, evil: Runs) -> Callable[[], Any]:
    np.save(folder / INDEX, np.array([evil]), allow_pickle=True)
    (folder / PIXELS).write_bytes(pickle.dumps(evil))
    (folder / META).write_text("{}")
    return lambda: CachedImages(folder)


def _as_confirmed_values(folder: Path, evil: Runs) -> Callable[[], Any]:
    np.savez(folder / "0000-seed1.npz", np.array([evil]), allow_pickle=True)
    return lambda: read_values(folder / "0000-seed1.npz")


def _as_rays_error(folder: Path, evil: Runs) -> Callable[[], Any]:
    (folder / "error.pkl").write_bytes(pickle.dumps(evil))
    (folder / "error.txt").write_bytes(pickle.dumps(evil))
    return lambda: last_failure(str(folder / "error.txt"))


def _as_journal(folder: Path, evil: Runs) -> Callable[[], Any]:
    (folder / FILE).write_bytes(pickle.dumps(evil) + b"\n")
    return lambda: Journal.read(folder)


def _as_samplers_note(folder: Path, evil: Runs) -> Callable[[], Any]:
    note = pickle.dumps(evil, protocol=0).decode()
    (folder / FILE).write_text(f'{{"event": "point", "at": 0, "trial": 0, "point": {{}}, "note": {note!r}}}\n')
    return lambda: Journal.read(folder)


def _as_request(folder: Path, evil: Runs) -> Callable[[], Any]:
    (folder / requests.FOLDER).mkdir()
    (folder / requests.FOLDER / "one.json").write_bytes(pickle.dumps(evil))
    return lambda: requests.take(folder)


PLANTED = (
    _as_checkpoint, _as_array, _as_cached_pixels, _as_confirmed_values, _as_rays_error, _as_journal, _as_samplers_note,
    _as_request,
)  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_pickle_runs_nothing(plant: Callable[[Path, Runs], Callable[[], Any]], tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    read = plant(tmp_path, Runs(mark))
    with contextlib.suppress(UserError, CacheUnusable, ValueError):
        read()
    assert not mark.exists()
    pickle.loads(pickle.dumps(Runs(mark)))
    assert mark.exists(), "the pickle is one that runs"


def test_a_pickle_beside_a_checkpoint_is_not_read_by_ray(tmp_path: Path) -> None:
    from pyarrow.fs import LocalFileSystem

    from trainables.trainable import PICKLED, RetrievalTrainable

    mark = tmp_path / "was-run"
    (tmp_path / PICKLED).write_bytes(pickle.dumps(Runs(mark)))
    saved = SimpleNamespace(checkpoint=SimpleNamespace(filesystem=LocalFileSystem(), path=str(tmp_path)))
    with pytest.raises(PermissionError, match="none of this project's"):
        RetrievalTrainable.restore(object.__new__(RetrievalTrainable), saved)
    assert not mark.exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!python/module:os"])
def test_yaml_runs_nothing(sweep_file: Path, tmp_path: Path, tag: str) -> None:
    mark = tmp_path / "was-run"
    for setting in (f"goal={tag} ['touch {mark}']", f"goal={tag} 'touch {mark}'"):
        with pytest.raises(UserError):
            load_sweep(sweep_file, [setting])
    sweep_file.write_text(f"{sweep_file.read_text()}\nstorage: {tag} ['touch {mark}']\n")
    with pytest.raises(UserError):
        load_sweep(sweep_file)
    assert not mark.exists()


@pytest.mark.parametrize(
    "override",
    [
        "model._target_=os.system",
        "dataset.kwargs._target_=os.system",
        "loss.SupAP._target_=os.system",
        "+hydra.launcher._target_=os.system",
        "hydra/launcher=evil",
        "loss=../../../tmp/evil",
        "loss.SupAP.name=os.system",
        "optimizer.backbone.name=subprocess.Popen",
        "model.kwargs.name=hf-hub:somebody/network",
        "loss.SupAP.tau=${oc.create:1}",
        "loss.SupAP.tau=${eval:1+1}",
    ],
)
def test_an_override_makes_nothing_but_what_is_registered(override: str) -> None:
    with pytest.raises(UserError):
        compose([override])


@pytest.mark.parametrize("text", ["__import__('os').system('x')", "().__class__", "open('x')", "[x for x in 'a']"])
def test_a_constraint_is_not_python(sweep_file: Path, text: str) -> None:
    written = {**yaml.safe_load(sweep_file.read_text()), "constraints": [text]}
    sweep_file.write_text(yaml.safe_dump(written))
    with pytest.raises(UserError):
        load_sweep(sweep_file)


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", ".x", "a\n", "", "a b"])
def test_a_sweeps_name_is_no_path(sweep: Sweep, sweep_file: Path, name: str) -> None:
    sweep_file.write_text(yaml.safe_dump({**yaml.safe_load(sweep_file.read_text()), "name": name}))
    with pytest.raises(UserError, match="name="):
        load_sweep(sweep_file)


@pytest.mark.parametrize("path", ["../../home", "/home", "launch-1/../../x"])
def test_a_journal_names_nothing_outside_its_folder(tmp_path: Path, path: str) -> None:
    events = ('{"event": "point", "at": 0, "trial": 0, "point": {}}', f'{{"event": "checkpoint", "at": 0, "trial": 0, '
              f'"epoch": 1, "path": "{path}"}}')  # fmt: skip
    (tmp_path / FILE).write_text("\n".join(events) + "\n")
    with pytest.raises(UserError, match="not in the sweep's folder"):
        Journal.read(tmp_path)


def test_an_archive_unpacks_its_four_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package("evil", "1", "0")
    with tarfile.open(tmp_path / package.tarball, "w:gz") as archive:
        for name in (*(f"package/{file}" for file in FILES), "package/../../../evil", "/evil", "../evil"):
            member = tarfile.TarInfo(name)
            member.size = 2
            archive.addfile(member, io.BytesIO(b"{}"))
    monkeypatch.setattr(emoji_packages, "_intact", lambda tarball, package: True)
    folder = emoji_packages.fetch(package, tmp_path)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == sorted([package.tarball, *(f"{folder.name}/{file}" for file in FILES)])
    assert not Path("/evil").exists() and not (tmp_path.parent / "evil").exists()


def test_what_commands_a_driver_is_its_owners_alone(sweep: Sweep, tmp_path: Path) -> None:
    sweep.folder.mkdir(parents=True)
    requests.ask(sweep.folder, "stop", now=True)
    assert stat.S_IMODE((sweep.folder / requests.FOLDER).stat().st_mode) == 0o700
    (sweep.folder / requests.FOLDER / "other.json").write_text('{"kind": "__init__", "values": {}}')
    kinds = [request.kind for request in requests.take(sweep.folder)]
    assert kinds == ["stop", "__init__"], "refused by the control: test_control.py has that"


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "address", "instead"),
    [
        ("tracking", "http://me:hunter2@host:5000", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        ("tracking", "https://hunter2@host", "MLFLOW_TRACKING_TOKEN"),
        ("tracking", "http://me:hunter2/@x@host", "MLFLOW_TRACKING_PASSWORD"),
        ("tracking", "postgresql://me:hunter2@host/mlflow", "PGPASSWORD"),
        ("tracking", "postgresql+psycopg2://me@host/mlflow?password=hunter2", "PGPASSWORD"),
        ("tracking", "mysql+pymysql://me:hunter2@host/mlflow", "read_default_file"),
        ("storage", "s3://me:hunter2@bucket/runs", "AWS_SECRET_ACCESS_KEY"),
        ("storage", "s3://bucket/runs?secret_key=hunter2", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_password_in_an_address_is_refused(sweep_file: Path, key: str, address: str, instead: str) -> None:
    with pytest.raises(UserError) as refused:
        load_sweep(sweep_file, [f"{key}={address!r}"])
    said = str(refused.value)
    assert instead in said and "hunter2" not in said and "\n" not in said


@pytest.mark.parametrize("address", ["postgresql://me@host/mlflow", "http://host:5000", "s3://bucket/a@b:c"])
def test_an_address_without_one_is_taken(address: str) -> None:
    secrets.check_address("tracking", address)


def test_a_configuration_does_not_read_secrets(sweep_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_TOKEN", "hunter2")
    for asked in ("${oc.env:DEPLOY_TOKEN}", "${env:DEPLOY_TOKEN}", "${oc.env:PGPASSWORD,none}"):
        with pytest.raises(UserError, match="a secret stays there"):
            load_sweep(sweep_file, [f"goal={asked}"])
        with pytest.raises(UserError, match="a secret stays there"):
            compose([f"dataset.kwargs.data_dir={asked}"])


# -- a sweep that runs ------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """What was seen of a real sweep while it ran, and what it left."""

    folder: Path
    listening: set[tuple[str, str]] = field(default_factory=set)  # (process, address)
    arguments: set[str] = field(default_factory=set)
    folders: dict[str, int] = field(default_factory=dict)  # Ray's session folder -> its mode
    leaks: list[str] = field(default_factory=list)  # files of Ray's session with a secret
    strangers: str = ""  # what a client without the token was told
    owner: str = ""  # with it
    web: dict[str, str] = field(default_factory=dict)  # address of a server that speaks HTTP -> its answer
    output: str = ""


SECRET = "hunter2-" + "0123456789abcdef" * 2

CLIENT = """
import sys
from ray._raylet import GcsClient
try:
    print("let in", GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=30) is not None)
except BaseException as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, tiny_emoji: Path) -> Watched:
    """One trial of two workers (so that they meet over sockets), from the command line, with secrets about."""
    folder = tmp_path_factory.mktemp("watched")
    written = {
        "name": "small",
        "goal": "be watched",
        "train": ["dataset.sampler.kwargs.batch_size=16", "experience.max_iter=900", "model.freeze_batch_norm=true"],
        "space": {"loss.SupAP.tau": {"loguniform": [0.001, 0.1]}},
        "search": {"trials": 1},
        "scheduler": {"name": "none"},
        "validation": {"fraction": 0.34},
        "resources": {"workers": 2},
        "budget": {"concurrent": 1},
        "storage": str(folder / "runs"),
        "tracking": f"sqlite:///{folder}/mlruns/mlflow.db",
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(written))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ROADMAP_TUNE_DATA": str(tiny_emoji), "HOME": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", "run", str(folder / "small.yaml")],
        cwd=folder,
        env={**environment, **dict.fromkeys(PASSWORDS, SECRET)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    seen = Watched(folder)
    until = time.monotonic() + 240
    try:
        while not seen.strangers and process.poll() is None and time.monotonic() < until:
            _look(seen, psutil.Process(process.pid))
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGINT)
        seen.output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and seen.strangers, seen.output
    return seen


def _look(seen: Watched, driver: psutil.Process) -> None:
    token, gcs = "", ""
    for process in [driver, *_children(driver)]:
        with contextlib.suppress(psutil.Error):
            arguments = " ".join(process.cmdline())
            seen.arguments.add(arguments)
            if "raylet/raylet" in arguments:
                token = process.environ()["RAY_AUTH_TOKEN"]
                gcs = arguments.partition("--gcs-address=")[2].partition(" ")[0]
            for socket in process.net_connections("inet"):
                if socket.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and socket.laddr:
                    seen.listening.add((process.name(), f"{socket.laddr.ip}:{socket.laddr.port}"))
    trials = Journal.read(seen.folder / "runs" / "small").trials.values()
    if gcs and any(trial.reports for trial in trials):
        _ask(seen, driver, gcs, token)


def _ask(seen: Watched, driver: psutil.Process, gcs: str, token: str) -> None:
    """What others on this machine can find out while the trial runs."""
    for session in Path(tempfile.gettempdir()).glob(f"rt-{driver.pid}-*"):
        seen.folders[str(session)] = stat.S_IMODE(session.stat().st_mode)
        seen.leaks += [f"{path}: {secret}" for path, secret in _holding(session, [SECRET, token])]
    seen.leaks += [f"{path}: token" for path, _ in _holding(seen.folder, [token])]
    seen.web = dict(_answers(address for _, address in seen.listening))
    seen.owner = _client(gcs, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token})
    seen.strangers = _client(gcs, {"RAY_AUTH_MODE": "disabled"})


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _client(address: str, mode: dict[str, str]) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    run = [sys.executable, "-c", CLIENT, address]
    return subprocess.run(run, env={**environment, **mode}, capture_output=True, text=True, timeout=60).stdout.strip()


def _answers(addresses: Iterable[str]) -> Iterator[tuple[str, str]]:
    for address in addresses:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):  # one that speaks no HTTP
            try:
                request = urllib.request.Request(f"http://{address.replace('::ffff:', '')}/api/job_agent/jobs/")
                with urllib.request.urlopen(request, timeout=1) as page:
                    yield address, page.read(6).decode()
            except urllib.error.HTTPError as error:
                yield address, str(error.code)


def _holding(folder: Path, secrets: list[str]) -> Iterator[tuple[Path, str]]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                yield from ((path, secret) for secret in secrets if secret.encode() in content)


@pytest.mark.slow
def test_nothing_listens_beyond_loopback(watched: Watched) -> None:
    names = {name for name, _ in watched.listening}
    assert {"gcs_server", "raylet"} <= names, "it has looked at what listens"
    beyond = {(name, at) for name, at in watched.listening if not at.startswith(("127.0.0.1:", "::1:", "::ffff:127."))}
    assert not beyond


@pytest.mark.slow
def test_a_client_without_the_token_is_refused(watched: Watched) -> None:
    assert watched.owner == "let in True" and watched.strangers == "AuthenticationError"
    numbers_alone = "# HELP"  # Prometheus' page: counts, no names and no commands
    assert "401" in watched.web.values() and set(watched.web.values()) <= {"401", "403", "404", numbers_alone}


@pytest.mark.slow
def test_secrets_stay_in_the_environment(watched: Watched) -> None:
    assert not watched.leaks
    assert not list(_holding(watched.folder, [SECRET]))
    assert SECRET not in watched.output
    assert not [arguments for arguments in watched.arguments if SECRET in arguments]


@pytest.mark.slow
def test_temporary_folders_are_the_owners_alone(watched: Watched) -> None:
    """Ray opens its own folder to everybody: what counts is the one around it."""
    assert set(watched.folders.values()) == {0o700}
