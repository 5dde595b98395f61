"""Commit, versions, machine: of the code that runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

import tuner
from tuner import provenance


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@here")
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a copy of the module in it, not committed."""
    monkeypatch.delenv(provenance.SENT, raising=False)
    git(tmp_path, "init", "-q")
    (tmp_path / "tuner").mkdir()
    file = tmp_path / "tuner" / "provenance.py"
    shutil.copy(Path(str(tuner.__file__)).parent / "provenance.py", file)
    monkeypatch.setattr(provenance, "__file__", str(file))
    return file


def test_the_commit_and_whether_the_code_is_it(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance.commit() == ("", False), "installed in somebody's repository, it is not of theirs"
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    sha = git(package.parent, "rev-parse", "HEAD")
    assert provenance.commit() == (sha, False) and provenance.sent() == {provenance.SENT: sha}
    package.write_text(package.read_text() + "\n")
    assert provenance.commit() == (sha, True)
    monkeypatch.setenv(provenance.SENT, provenance.sent()[provenance.SENT])
    monkeypatch.setattr(provenance, "__file__", "/nowhere/provenance.py")
    assert provenance.commit() == (sha, True), "as a cluster's job is told"
    monkeypatch.setattr("sys.argv", ["/x/tuner/__main__.py", "run", "a b.yaml"])
    tags = provenance.of_launch()
    assert (tags[provenance.COMMIT], tags[provenance.DIRTY]) == (sha, "true")
    assert (tags["mlflow.source.name"], tags["launched_by"]) == ("roadmap-tune run", "roadmap-tune run 'a b.yaml'")
    assert {"host", "version.python", "version.torch", "version.ray", "version.mlflow"} <= tags.keys()


def test_without_git_there_is_no_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == ("", False) and provenance.COMMIT not in provenance.of_launch()
