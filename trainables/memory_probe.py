"""What one batch of an experiment takes of its device's memory, measured by training it.

    python -m trainables.memory_probe < experiment.json

in a process of its own, so that nothing stays on the device: one line of JSON with `peak` and `card`, in bytes.
"""

import contextlib
import json
import os
import resource
import sys

import torch

from trainables.experiment import Experiment
from trainables.training import Training

CONTEXT = 512 * 2**20  # what CUDA itself keeps on a card for a process; torch does not count it


class _Enough(Exception):
    """The first batch is done."""


def measure(experiment: Experiment) -> dict[str, int]:
    """peak: of this process after one batch; card: all that the device has. On the CPU, of the main memory.

    The batch trains every part that is trained at all, also where a warm-up would begin with some.
    """
    whole = experiment.experience.model_copy(update={"warm_up": 0})
    training = Training(experiment.model_copy(update={"experience": whole}), progress=_stop_after_the_first_batch)
    with contextlib.closing(training), contextlib.suppress(_Enough):
        training.epoch()
    if training.device.type != "cuda":
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "card": pages}
    peak = torch.cuda.max_memory_reserved(training.device) + CONTEXT
    return {"peak": peak, "card": torch.cuda.get_device_properties(training.device).total_memory}


def _stop_after_the_first_batch(what: str, done: int, total: int) -> None:
    raise _Enough


if __name__ == "__main__":
    print(json.dumps(measure(Experiment.model_validate_json(sys.stdin.read()))))
