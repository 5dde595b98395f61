"""Why Ray gave a trial up, from the text that it wrote down: it tells its callbacks nothing.

It writes a pickle of the exception too, which is not read: a file that is unpickled runs what it names.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import ProcessLost

LOST = f"{ProcessLost.__module__}.{ProcessLost.__qualname__}"
_ATTEMPT = re.compile(r"^Failure # \d+ \(occurred at .*\)\n", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[\d+m")
_TASK = re.compile(r"\S+\(\) \(pid=\d+, ip=")  # how Ray heads the traceback of an exception in an actor
_RAISED = re.compile(r"([A-Za-z_][\w.]*)(?:: (.*))?")


@dataclass(frozen=True)
class Failure:
    """text: all that Ray wrote; error: the exception's name, "" where a process was gone; told: its first line."""

    text: str = ""
    error: str = ""
    told: str = ""

    @property
    def lost(self) -> bool:
        """Whether a process or a node was gone, and not the trial's own code at fault."""
        return self.error == LOST or self.error.startswith("ray.exceptions.")


def last_failure(file: str | None) -> Failure:
    """The latest of the attempts in Ray's error.txt; an empty one where there is no such file on this machine."""
    if file is None or not Path(file).is_file():
        return Failure()
    written = _ATTEMPT.split(Path(file).read_text(errors="replace"))[-1]
    text = _COLOUR.sub("", written).strip()
    if not text or not _TASK.match(text):
        return Failure(text, "", text.partition("\n")[0])
    lines = text.split("\n")
    # the exception stands behind the last frame, at the margin
    frames = [place for place, line in enumerate(lines) if line.startswith("  File ")]
    behind = lines[(frames[-1] if frames else 0) + 1 :]
    raised = next((_RAISED.fullmatch(line) for line in behind if line and not line.startswith(" ")), None)
    if raised is None:
        return Failure(text, "Exception", lines[-1])
    return Failure(text, raised[1], raised[2] or raised[1].rpartition(".")[2])
