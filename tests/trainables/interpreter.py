"""Triton's interpreter, for the kernels of a GPU where there is none: it is chosen when Triton is imported."""

import os
import subprocess
import sys

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def assert_passes_interpreted(file: str) -> None:
    """The tests of this file that are marked gpu, in a process where Triton interprets."""
    pytest.importorskip("triton")
    if INTERPRETED:
        pytest.skip("this is it")
    command = [sys.executable, "-m", "pytest", file, "-p", "no:cacheprovider", "-m", "gpu"]
    run = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
