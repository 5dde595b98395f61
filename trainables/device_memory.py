"""The memory that a training had on its GPU, given back before the next one in the same process begins."""

import gc
import time

import torch

from trainables.errors import ProcessLost

KEPT = 64 * 2**20  # bytes that a process may keep: workspaces of libraries
SECONDS_TO_FREE = 10.0


def release() -> None:
    """Nothing where no GPU is used. ProcessLost where something still holds the memory: a new process has it all."""
    if not torch.cuda.is_initialized():
        return
    until = time.monotonic() + SECONDS_TO_FREE
    while True:
        gc.collect()
        held = torch.cuda.memory_allocated()
        if held <= KEPT:
            torch.cuda.empty_cache()  # others on this card have it now
            return
        if time.monotonic() >= until:
            raise ProcessLost(f"{held / 2**20:.0f} MiB of the trial before are still on the GPU")
        time.sleep(0.2)
