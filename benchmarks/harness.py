"""How the benchmarks measure: ways in turn, medians of their ratios, CPU time, peak memory in a fresh process.

Absolute times drift on shared machines; a ratio of two ways that ran one after the other does not.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds of one round: on the clock, and of all this process's threads together."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One goal: what is promised, what was measured. at_least: measured must reach the goal, else stay below it."""

    subject: str  # "losses", "evaluation", ...
    what: str  # "SupAP, B = 128: times faster than all pairs"
    goal: float | None  # None: a number to know, no promise
    measured: float
    at_least: bool = True
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal


def in_turn(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[Timing]]:
    """Every way once a round, one after the other; the first `warm_up` rounds are not counted."""
    found: dict[str, list[Timing]] = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            timing = Timing(time.perf_counter() - wall, time.process_time() - cpu)
            if number >= warm_up:
                found[name].append(timing)
    return found


def ratio(of: Sequence[Timing], to: Sequence[Timing], clock: str = "cpu") -> float:
    """The median over the rounds of of / to."""
    return statistics.median(getattr(a, clock) / getattr(b, clock) for a, b in zip(of, to, strict=True))


def median(timings: Sequence[Timing], clock: str = "cpu") -> float:
    """Seconds."""
    return statistics.median(getattr(timing, clock) for timing in timings)


def peak_mib(function: str, **arguments: Any) -> float:
    """What a call adds to the peak memory of a fresh process, in MiB.

    function: "module:name"; called once with warm=True (imports, buffers of a small size), then in earnest.
    """
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.harness", function, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(run.stdout.strip().splitlines()[-1])


def table(rows: Sequence[Row]) -> str:
    """A line a row: subject, what, goal, measured, met or not."""
    cells = [["subject", "what", "goal", "measured", ""]]
    for row in rows:
        sign = "" if row.goal is None else (">= " if row.at_least else "<= ")
        goal = "" if row.goal is None else f"{sign}{row.goal:g} {row.unit}"
        met = {True: "met", False: "NOT MET", None: ""}[row.met]
        cells.append([row.subject, row.what, goal, f"{row.measured:.3g} {row.unit}", met])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_json(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    return json.dumps({"machine": dict(machine), "rows": [{**asdict(row), "met": row.met} for row in rows]}, indent=2)


def _peak_kib() -> int:
    """Of this process: Linux's own figure in getrusage begins at the peak of the parent that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    import importlib

    module, _, name = sys.argv[1].partition(":")
    measured = getattr(importlib.import_module(module), name)
    arguments = json.loads(sys.argv[2])
    measured(warm=True, **arguments)
    before = _peak_kib()
    measured(warm=False, **arguments)
    print((_peak_kib() - before) / 1024)
