"""A GPU that is not there, with a memory that can run out: what trainings on one card hold together is counted.

`install` is a worker_process_setup_hook of Ray. A training claims its memory with its first epoch and gives it back
when it is closed; a process that has gone holds nothing.
"""

import fcntl
import os
from pathlib import Path
from typing import Any

SIZE = 1.0
NEEDS = {64: 0.4, 96: 0.4, 128: 0.4, 256: 0.7, 512: 1.2}  # dimensions -> what its training holds of a card
SEEN = "SEEN_CARDS"  # environment: the file that every claim is written to, "host, devices seen, dimensions"


def install() -> None:
    """Training.epoch and close claim and free."""
    from trainables.training import Training

    epoch, close = Training.epoch, Training.close

    def claiming(training: Training, *given: Any, **named: Any) -> Any:
        claim(int(training.experiment.model.kwargs["embed_dim"]))
        return epoch(training, *given, **named)

    def freeing(training: Training) -> None:
        close(training)
        held().unlink(missing_ok=True)

    Training.epoch, Training.close = claiming, freeing  # type: ignore[method-assign]


def card() -> Path:
    """What this process sees of the cards: one of them."""
    folder = Path("/tmp/cards") / os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def held() -> Path:
    return card() / str(os.getpid())


def claim(dimensions: int) -> None:
    """torch.OutOfMemoryError where the card has less than the training needs."""
    import torch

    with (card() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        others = [file for file in card().iterdir() if file.name.isdigit() and int(file.name) != os.getpid()]
        used = sum(float(file.read_text()) for file in others if Path("/proc", file.name).exists())
        if used + NEEDS[dimensions] > SIZE:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {NEEDS[dimensions]:g} of {SIZE - used:g}"
            )
        held().write_text(str(NEEDS[dimensions]))
    with open(os.environ[SEEN], "a") as seen:
        seen.write(f"{os.uname().nodename} {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')} {dimensions}\n")
