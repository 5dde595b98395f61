"""What a host is made of: an init process in namespaces of its own, and what an sshd there needs."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import psutil

TOOLS = ("ip", "unshare", "nsenter", "setpriv", "mount")
ROOT = Path(__file__).parent.parent.parent
PLACE = Path("/var/tmp")  # not below /tmp, which is each host's own
NAMESPACES = ("--net", "--pid", "--mount", "--uts", "--ipc")
# the machine's process number is read before /proc becomes the host's; then bash reaps, as an init does
INIT = """
set -e
read -r pid rest </proc/self/stat
mount --make-rprivate /
hostname {name}
{binds}
mount --rbind {folder}/tmp /tmp
mount -t overlay overlay -o lowerdir={home},upperdir={folder}/home,workdir={folder}/work {home}
mount -t tmpfs -o size=2g,mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
mount -t proc proc /proc
ip link set lo up
echo $pid
while :; do sleep infinity & wait $!; done
"""

SWITCH = """
set -e
mount --make-rprivate /
{disk}
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
echo $$
exec sleep infinity
"""


def missing(sshd: bool = False) -> str:
    """Why no hosts can be made here; "" where they can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "hosts in network namespaces need root on Linux"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    lacking = [
        tool for tool in (*TOOLS, *(["sshd", "ssh-keygen"] if sshd else [])) if not shutil.which(tool, path=path)
    ]
    if lacking:
        return f"hosts in network namespaces need {', '.join(lacking)}"
    refused = _refused()
    return f"hosts in network namespaces cannot be made here: {refused}" if refused else ""


@cache
def _refused() -> str:
    """What the kernel says where root may not do it, as in most containers; "" where it does."""
    with tempfile.TemporaryDirectory(prefix=f"hosts-{os.getpid()}-try-", dir=PLACE) as folder:
        for name in ("up", "work"):
            (Path(folder) / name).mkdir()
        home = shlex.quote(str(Path.home()))
        trial = (
            "mount --make-rprivate / && ip link add v0 type veth peer name v1 && "
            f"mount -t overlay overlay -o lowerdir={home},upperdir={folder}/up,workdir={folder}/work {home}"
        )
        done = subprocess.run(
            ["unshare", *NAMESPACES, "--fork", "sh", "-c", trial], stderr=subprocess.PIPE, text=True, check=False
        )
    return (done.stderr.splitlines() or ["no reason given"])[-1] if done.returncode else ""


def common(shared: Path) -> set[Path]:
    """What all hosts see and what lies below /tmp: it keeps its place in each host's own one."""
    places = {shared, ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return {place for place in places if place.is_relative_to("/tmp")}


def binds(folder: Path, shared: Path) -> str:
    """Lines of INIT that show what is common below `folder`, whose tmp becomes the host's."""
    lines = []
    for source in common(shared):
        place = shlex.quote(str(folder / source.relative_to("/")))
        lines += [f"mkdir -p {place}", f"mount --rbind {shlex.quote(str(source))} {place}"]
    return "\n".join(lines)


def start_init(
    namespaces: list[str], script: str, log: Path, mounts: int | None = None
) -> tuple["subprocess.Popen[str]", int]:
    """Runs the script in new namespaces until this process ends; returns the number that it prints first, its own.

    mounts: of the process whose mounts a mount namespace starts from, None: this one's.
    """
    entered = [] if mounts is None else ["nsenter", "-t", str(mounts), "--mount"]
    with log.open("a") as errors:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *entered, "unshare", *namespaces, "bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    said = process.stdout.readline()
    if not said:
        process.wait()
        raise RuntimeError(f"a host did not boot: {log.read_text()}")
    return process, int(said)


def ssh_server(folder: Path) -> Path:
    """Keys of its own, none of the machine's; the configuration of every host's sshd."""
    folder.mkdir()
    for name in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    settings = {
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "id.pub",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "UsePAM": "no",
        "StrictModes": "no",
        "PidFile": "none",
    }
    configuration = folder / "sshd_config"
    configuration.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    return configuration


def remove_stale() -> None:
    """Folders of runs that were killed; their hosts went with them."""
    for folder in PLACE.glob("hosts-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
