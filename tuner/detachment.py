"""A driver in a session of its own: it lives on when the shell that started it is gone."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tuner.journal import Journal

LOG = "driver.log"
LAUNCHED = "launched: "  # how a driver on a cluster tells who follows it that everything was in order
SECONDS_TO_LAUNCH = 120.0
SECONDS_BETWEEN_LOOKS = 0.2


def start(folder: Path, arguments: Sequence[str]) -> int:
    """Starts `roadmap-tune ARGUMENTS` and waits until it has launched; its pid, or 0 where it ended before that.

    What it prints goes to folder/driver.log, behind what earlier launches printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until, journal = time.monotonic() + SECONDS_TO_LAUNCH, Journal(folder)
    while time.monotonic() < until:
        journal = journal.again()
        launches = journal.launches
        if launches and launches[-1].pid == process.pid:
            return process.pid
        if process.poll() is not None:
            return 0
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return process.pid
