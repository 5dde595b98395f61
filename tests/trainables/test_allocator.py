"""The allocator: a large block that was freed is given out again, its pages still there."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from trainables.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
block = lambda: np.empty(2**26, np.uint8).fill(1)
block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    block()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc keeps what it likes")
def test_a_block_that_was_freed_costs_no_new_pages() -> None:
    def faults(mode: str) -> int:
        run = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
        return int(run.stdout)

    kept, given_back = faults("kept"), faults("given back")
    assert kept < 50 < given_back
