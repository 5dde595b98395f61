"""The exception that is the user's fault, with the sentence that names the nearest valid name; and the machines'."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user asked for. Its text is one line; the commands print it and exit with 2."""


class ProcessLost(RuntimeError):
    """Another process of this training has gone or does not answer: nothing is wrong with its settings."""


class DataMissing(RuntimeError):
    """The data set cannot be read on a node, for a `reason`: nothing is wrong with a training's settings."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, reason)  # the arguments again: an exception travels between processes as them
        self.node, self.reason = node, reason

    def __str__(self) -> str:
        return f"data not on this node: {self.reason}"


MISPLACED = "misplaced"  # the state of a trial whose node has no data: it goes on elsewhere


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> UserError:
    """unknown("loss", "SupApp", ["SupAP"]) -> "unknown loss 'SupApp', did you mean 'SupAP'? Known: SupAP"."""
    names = sorted(known)
    folded = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(str(name).lower(), folded, n=1, cutoff=0.5)
    hint = f", did you mean {folded[near[0]]!r}?" if near else "."
    prefix = f"{where}: " if where else ""
    return UserError(f"{prefix}unknown {kind} {name!r}{hint} Known: {', '.join(names)}")


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the device's or the machine's; torch gives each another type of error."""
    cuda = type(error).__name__ == "OutOfMemoryError"
    return cuda or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)
