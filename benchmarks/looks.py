"""python -m benchmarks.looks [--trials 1000 10000]: what `status --follow` takes of a CPU, by the journal's length.

The journal is written by hand: six reports a trial with eleven metrics, a checkpoint each, and a driver that seems to
hold it. Milliseconds of CPU: reading all of it, and a look at it when nothing or four reports have come since the last.
"""

import argparse
import json
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.scale import OTHERS, SWEEP
from tuner.events import take
from tuner.journal import FILE
from tuner.standing import Standing
from tuner.sweep import Sweep, load_sweep

REPORTS, EPOCHS, CAME = 6, 30, 4
WHOLE, LOOKS = 3, 200  # times


def lines(sweep: Sweep, trials: int) -> Iterator[str]:
    """The events of a sweep of so many trials that ASHA stops."""
    yield _line("sweep", launch="x", trials=trials, epochs=EPOCHS, sweep=sweep.model_dump(mode="json"))
    yield _line("launch", host=platform.node(), pid=1, about={})
    for trial in range(trials):
        yield _line("point", trial=trial, point={key: random.random() for key in sweep.space})
        yield _line("start", trial=trial)
        for epoch in range(1, REPORTS + 1):
            path = f"launch-1/trial-{trial:04d}-{trial:05d}/checkpoint_{epoch - 1:06d}"
            yield _report(sweep, trial, epoch)
            yield _line("checkpoint", trial=trial, epoch=epoch, path=path)
        yield _line("end", trial=trial, state="stopped", reason="asha: rung 4, 0.1234 < 0.2345")


def _report(sweep: Sweep, trial: int, epoch: int) -> str:
    metrics = {name: random.random() for name in (sweep.objective.metric, *OTHERS)}
    return _line("report", trial=trial, epoch=epoch, metrics=metrics, host="node-17", gpu="")


def _line(event: str, **values: Any) -> str:
    return json.dumps({"event": event, "at": round(time.time(), 3), **values}) + "\n"


def measure(trials: int) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as place:
        sweep = load_sweep(SWEEP, [f"search.trials={trials}", f"storage={place}"])
        with take(sweep.folder / FILE, "taken") as file:
            file.writelines(lines(sweep, trials))
            file.flush()
            whole, standing = _timed(lambda: Standing.of(sweep.folder), WHOLE)

            def grown() -> Standing:
                file.writelines(_report(sweep, 0, REPORTS) for _ in range(CAME))
                file.flush()
                return standing.again()

            nothing, some = _timed(standing.again, LOOKS)[0], _timed(grown, LOOKS)[0]
            size = (sweep.folder / FILE).stat().st_size / 1e6
    return f"| {trials:,} | {size:.1f} | {whole:.0f} | {nothing:.2f} | {some:.2f} |"


def _timed(look: Callable[[], Standing], times: int) -> tuple[float, Standing]:
    """(milliseconds of CPU, the last)."""
    began = time.process_time()
    for _ in range(times):
        found = look()
    return 1000 * (time.process_time() - began) / times, found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.looks", description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10000])
    given = parser.parse_args()
    print(f"| trials | journal, MB | read whole, ms | a look, nothing new, ms | a look, {CAME} reports, ms |")
    print("|---|---|---|---|---|")
    for asked in given.trials:
        print(measure(asked))
