"""Several hosts on one Linux machine, for tests: each has its own network, processes, /tmp, /run, /dev/shm and $HOME.

    with Hosts(3, prefix="fault", subnet="10.91.0") as hosts:
        hosts[0].run("hostname")
        hosts[1].cut()

A host is an init process in namespaces of its own; its cable is a veth pair into a bridge, which has a namespace too,
so the machine's own network is never touched. The init ends with the process that made it, however that one ends, and
the kernel removes the rest: processes, addresses, mounts. `hosts.shared` is one folder that all hosts see, as over NFS;
so is the rest of the file system, but for the folders named above.

Needs root, iproute2 and util-linux; with sshd openssh-server too.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psutil

from tests.cluster import namespaces
from tests.cluster.namespaces import INIT, NAMESPACES, PLACE, ROOT, SWITCH, remove_stale, ssh_server, start_init

YIELDING = 10  # `nice` of hosts whose times nobody reads, beside those of the faults
SECONDS = 60.0  # for a command on a host


def wait_for(condition: Callable[[], object], seconds: float, what: str = "it") -> float:
    """Until the condition holds; the seconds that took. AssertionError where it does not come."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"{what} did not come in {seconds:g} s"
        time.sleep(0.1)
    return time.monotonic() - began


class Host:
    """One of them; `Hosts` makes it."""

    def __init__(self, hosts: "Hosts", number: int) -> None:
        self._hosts, self.number = hosts, number
        self.name = f"{hosts.prefix}{number}"
        self.address = f"{hosts.subnet}.{10 + number}"
        self.folder = hosts.folder / self.name  # what it has for itself: tmp, home
        self._process: subprocess.Popen[str] | None = None
        self._pid = self._boots = 0

    def boot(self) -> None:
        """From nothing, or again after `power_off`: what was in its /tmp and $HOME is gone then."""
        assert self._process is None, f"{self.name} is up"
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("tmp", "home", "work"):
            (self.folder / part).mkdir(parents=True)
        (self.folder / "tmp").chmod(0o1777)
        for file, text in self._hosts.home.items():
            written = self.folder / "home" / file
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(text)
            written.chmod(0o600)
        seen = namespaces.binds(self.folder, self._hosts.shared)
        script = INIT.format(name=self.name, folder=self.folder, home=Path.home(), binds=seen)
        apart = [*NAMESPACES, "--fork", "--kill-child"]
        self._process, self._pid = self._hosts.start_init(apart, script)
        self._plug()
        if self._hosts.sshd:
            self.run("/usr/sbin/sshd", "-f", str(self._hosts.sshd), "-o", f"ListenAddress={self.address}")

    def power_off(self) -> None:
        """At once: none of its processes can do anything more."""
        assert self._process is not None, f"{self.name} is off"
        os.kill(self._pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def cut(self) -> None:
        """Pulls its cable out of the switch: nothing is refused, nothing arrives."""
        self._hosts.switch("ip", "link", "set", self._port, "down")

    def heal(self) -> None:
        self._hosts.switch("ip", "link", "set", self._port, "up")

    @contextlib.contextmanager
    def slowed(self, factor: float, period_s: float = 0.2) -> Iterator[None]:
        """Its processes run 1 / factor of the time, however busy the machine is: they rest by how long they ran."""
        done = threading.Event()

        def brake() -> None:
            began = time.monotonic()
            while not done.wait(period_s / factor):
                found = self.processes()
                for process in found:
                    with contextlib.suppress(psutil.Error):
                        process.suspend()
                done.wait((time.monotonic() - began) * (factor - 1))
                began = time.monotonic()
                for process in found:
                    with contextlib.suppress(psutil.Error, AttributeError):
                        process.resume()
                        process.parent().resume()  # nsenter stops with its child

        thread = threading.Thread(target=brake)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @property
    def up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, check: bool = True, timeout: float = SECONDS
    ) -> "subprocess.CompletedProcess[str]":
        """What it prints on this host, stdout and stderr in one; AssertionError where it fails and `check` is set."""
        done = subprocess.run(
            self.command(*command, env=env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{self.name}: {shlex.join(command)}: {done.stdout}"
        return done

    def start(
        self, *command: str, output: Path | IO[Any] | None = None, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """A command that goes on, in a session of its own; what it prints goes behind what `output` has."""
        with contextlib.ExitStack() as stack:
            written = stack.enter_context(output.open("ab")) if isinstance(output, Path) else output
            return subprocess.Popen(
                self.command(*command, env=env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if written is None else written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self, *command: str, env: Mapping[str, str] | None = None) -> list[str]:
        """What runs `command` there from here, with the environment of a login and `env`."""
        entered = ["nsenter", "-t", str(self._pid), *NAMESPACES, "--", "nice", "-n", str(self._hosts.nice)]
        variables = {**self._hosts.environment, **(env or {})}
        return [*entered, "env", "-i", f"--chdir={self._hosts.shared}", *_assignments(variables), *command]

    def processes(self, title: str = "") -> list[psutil.Process]:
        """Those that run on it, its init left out, whose command line has `title`; the machine's process numbers."""
        if not self.up:
            return []
        own, found = os.readlink(f"/proc/{self._pid}/ns/pid"), []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid == self._pid or os.readlink(f"/proc/{process.pid}/ns/pid") != own:
                    continue
                line = " ".join(process.cmdline())
                if title in line and line != "sleep infinity" and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    @property
    def _port(self) -> str:
        # the old end may be there for a moment after a power cut
        return f"p{self.number}b{self._boots}"

    def _plug(self) -> None:
        self._boots += 1
        inside = ["nsenter", "-t", str(self._pid), "--net", "--", "ip"]
        card = ("address", f"02:00:00:00:00:{10 + self.number:02x}")  # the same after a boot: others remember it
        end = ("name", "v0", *card, "netns", str(self._pid))
        self._hosts.switch("ip", "link", "add", self._port, "type", "veth", "peer", *end)
        self._hosts.switch("ip", "link", "set", self._port, "master", "br0", "up")
        subprocess.run([*inside, "addr", "add", f"{self.address}/24", "dev", "v0"], check=True)
        subprocess.run([*inside, "link", "set", "v0", "up"], check=True)

    @property
    def tmp(self) -> list[Path]:
        """What has been written to its own /tmp, as this process sees it."""
        seen = {self.folder / Path(*place.parts[1:3]) for place in namespaces.common(self._hosts.shared)}
        return [path for path in (self.folder / "tmp").iterdir() if path not in seen]


class Hosts:
    """`count` hosts at subnet.10, .11, ... on one switch, up until the block ends.

    prefix: of their names; another prefix and subnet make a second set beside the first. sshd: each has one, for root
    with the key `hosts.key`. shared: the folder that all see, where another than `folder/shared` is meant. storage_mb:
    shared/storage is a disk of this size, seen by the hosts and through `view`. nice: how far what runs on them yields.
    """

    def __init__(
        self,
        count: int,
        prefix: str,
        subnet: str,
        *,
        sshd: bool = False,
        shared: Path | None = None,
        token: str = "",
        storage_mb: int | None = None,
        nice: int = 0,
    ) -> None:
        remove_stale()
        self.prefix, self.subnet, self.nice = prefix, subnet, nice
        self.folder = Path(tempfile.mkdtemp(prefix=f"hosts-{os.getpid()}-{prefix}-", dir=PLACE))
        self.shared = (shared or self.folder / "shared").resolve()
        self.shared.mkdir(parents=True, exist_ok=True)
        self.token = token or os.urandom(32).hex()
        self.environment = {
            "HOME": str(Path.home()),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RAY_AUTH_MODE": "token",
        }
        profile = "".join(f"export {line}\n" for line in map(shlex.quote, _assignments(self.environment)))
        self.home = {".ray/auth_token": self.token, ".bash_profile": profile, ".bashrc": profile}
        self.key = self.folder / "ssh" / "id"
        self.sshd = ssh_server(self.folder / "ssh") if sshd else None
        disk = "true"
        if storage_mb is not None:
            (self.shared / "storage").mkdir()
            disk = f"mount -t tmpfs -o size={storage_mb}m tmpfs {shlex.quote(str(self.shared / 'storage'))}"
        self._switch_pid: int | None = None
        script = SWITCH.format(disk=disk)
        self._switch, self._switch_pid = self.start_init(["--net", "--mount"], script)
        self._hosts = [Host(self, number) for number in range(count)]

    def __enter__(self) -> "Hosts":
        try:
            for host in self._hosts:
                host.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __getitem__(self, number: int) -> Host:
        return self._hosts[number]

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def start_init(self, namespaces: list[str], script: str) -> tuple["subprocess.Popen[str]", int]:
        return start_init(namespaces, script, self.folder / "log", self._switch_pid)

    def view(self, path: Path) -> Path:
        """Where this process sees what the hosts see at `path`."""
        return Path(f"/proc/{self._switch_pid}/root{path}")

    @contextlib.contextmanager
    def read_only(self, path: Path) -> Iterator[None]:
        """Nothing that a host opens below the path can be written to; what is open already stays as it is."""
        for host in self._hosts:
            host.run("mount", "--bind", "-o", "ro", str(path), str(path))
        try:
            yield
        finally:
            for host in self._hosts:
                host.run("umount", "--lazy", str(path))

    def switch(self, *command: str) -> None:
        """A command in the switch's network."""
        subprocess.run(["nsenter", "-t", str(self._switch_pid), "--net", "--", *command], check=True)

    def close(self) -> None:
        """Every host off, every file gone."""
        for host in self._hosts:
            if host.up:
                host.power_off()
        self._switch.kill()
        self._switch.wait()
        shutil.rmtree(self.folder)


def _assignments(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]
