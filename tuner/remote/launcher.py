"""A cluster of Ray's launcher (`ray up FILE`): its head, and a tunnel to what listens on the head's loopback alone."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainables.errors import UserError

SECONDS_TO_FIND_THE_HEAD = 90.0  # a cloud is asked
SECONDS_TO_CONNECT = 15.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Cluster:
    """file: of Ray's launcher. written: what is in it."""

    file: Path
    written: dict[str, Any]

    @classmethod
    def read(cls, path: str) -> "Cluster":
        """UserError where it is no file of Ray's launcher."""
        file = Path(path).expanduser()
        if not file.is_file():
            raise UserError(f"--cluster {path}: there is no such file")
        try:
            written = yaml.safe_load(file.read_text())
        except yaml.YAMLError as error:
            raise UserError(f"--cluster {path} cannot be read as YAML: {str(error).splitlines()[0]}") from None
        if not isinstance(written, dict) or not {"cluster_name", "provider"} <= written.keys():
            raise UserError(f"--cluster {path} is no cluster file: it needs cluster_name and provider, as cluster.yaml")
        return cls(file, written)

    @property
    def head(self) -> str:
        """The head's address; UserError where no head runs."""
        provider = self.written["provider"]
        if provider.get("type") == "local":
            return str(provider["head_ip"])
        return self._asked()

    def ssh(self, head: str) -> list[str]:
        """The ssh command that logs in to the head, without a command of its own."""
        auth = self.written.get("auth", {})
        words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={SECONDS_TO_CONNECT:g}"]
        words += ["-o", "StrictHostKeyChecking=accept-new", "-o", "ServerAliveInterval=15"]
        key = self._key(auth)
        words += ["-i", key] if key else []
        words += ["-o", f"ProxyCommand={auth['ssh_proxy_command']}"] if auth.get("ssh_proxy_command") else []
        return [*words, f"{auth['ssh_user']}@{head}" if auth.get("ssh_user") else head]

    @contextlib.contextmanager
    def tunnel(self, port: int, near: int = 0) -> Iterator[int]:
        """127.0.0.1:near (0: a free port) here is 127.0.0.1:port of the head inside the block; the near port.

        UserError where ssh does not come through.
        """
        near = near or _free_port()
        *login, host = self.ssh(self.head)
        forward = f"{LOOPBACK}:{near}:{LOOPBACK}:{port}"
        process = subprocess.Popen(
            # `cat` ends with its input, and so does ssh however this process ends
            [*login, "-T", "-o", "ExitOnForwardFailure=yes", "-L", forward, host, "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is ours
        )
        try:
            self._wait_for(process, near, host)
            yield near
        finally:
            process.terminate()
            process.communicate()

    def _wait_for(self, process: "subprocess.Popen[str]", near: int, host: str) -> None:
        until = time.monotonic() + 2 * SECONDS_TO_CONNECT
        while time.monotonic() < until:
            if process.poll() is not None:
                assert process.stderr is not None
                said = process.stderr.read().strip().splitlines() or [f"ssh ended with {process.returncode}"]
                raise UserError(f"--cluster {self.file}: no ssh to {host}: {said[-1]}")
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, near), timeout=1):
                return
            time.sleep(0.1)
        raise UserError(f"--cluster {self.file}: no ssh to {host} within {2 * SECONDS_TO_CONNECT:g} s")

    def _asked(self) -> str:
        """Of the cloud. In a child: Ray's launcher prints, and ends the process where it is not content."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "get-head-ip", str(self.file)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS_TO_FIND_THE_HEAD, check=False
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"--cluster {self.file}: the cloud does not say within {SECONDS_TO_FIND_THE_HEAD:g} s where the head is"
            ) from None
        said = done.stdout.strip().splitlines()
        if done.returncode == 0 and said:
            return said[-1].strip()
        why = (done.stderr.strip().splitlines() or said or ["no word"])[-1]
        raise UserError(f"--cluster {self.file}: no head is found ({why}): `ray up {self.file}` starts one")

    def _key(self, auth: dict[str, Any]) -> str:
        """The private key: the file's, else the one that `ray up` made for the region; "": ssh's own choice."""
        if auth.get("ssh_private_key"):
            return str(Path(auth["ssh_private_key"]).expanduser())
        region = self.written["provider"].get("region")
        made = sorted(Path("~/.ssh").expanduser().glob(f"ray-autoscaler*_{region}.pem")) if region else []
        return str(made[-1]) if made else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
