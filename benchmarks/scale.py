"""python -m benchmarks.scale [--trials 1000] [--concurrent 32] [--out FOLDER]: what a driver costs as its sweep grows.

A real sweep on real Ray actors; only the trainings are not: they replay search_spaces/curves/emoji.csv. One row a
quarter of the trials, so that what is flat, linear or worse is seen in one run. docs/scale.md has the table.
"""

import argparse
import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import report
from tuner import cluster
from tuner.board import Board
from tuner.journal import FILE, Journal
from tuner.plan import make_plan
from tuner.simulation.curves import Curves
from tuner.sweep import Sweep, load_sweep

ROOT = Path(__file__).parent.parent
SWEEP, CURVES = ROOT / "search_spaces" / "emoji.yaml", ROOT / "search_spaces" / "curves" / "emoji.csv"
OTHERS = (*(f"val/{name}" for name in ("recall_at_1", "recall_at_10", "r_precision", "precision_at_1")), "train/SupAP",
          "train/CalibrationLoss", "train/total", "time/epoch_s", "time/val_s", "lr/backbone")  # fmt: skip
WINDOWS = 4
SECONDS_BETWEEN_SAMPLES = 0.5


@dataclass
class Sample:
    """Totals since the launch. cpu_s: of the thread that drives Ray; mlflow_s: of the one that writes to MLflow."""

    trials: int  # that have ended
    reports: int
    at: float
    cpu_s: float
    mlflow_s: float
    memory_mb: float
    journal_mb: float
    snapshot_mb: float
    snapshots: int
    snapshot_s: float
    draws: int
    draw_s: float
    unwritten: int  # jobs that wait for MLflow
    running: int


@dataclass(frozen=True)
class Window:
    """A part of the sweep: means over it, and sizes at its end."""

    trials: int
    report_ms: float  # CPU of the driver for one report: everything but MLflow's thread and the draws
    draw_ms: float  # for the next point
    mlflow_ms: float  # CPU of the writing thread for one report
    snapshot_ms: float
    snapshot_mb: float
    memory_mb: float
    journal_mb: float
    reports_a_second: float
    unwritten: int
    running: int


class Probe:
    """Looks at the driver from a thread of its own while it runs."""

    def __init__(self, journal: Journal, file: Path) -> None:
        self.samples: list[Sample] = []
        self._file = file  # gets every sample at once: a run of an hour may be cut short
        self._journal, self._process = journal, psutil.Process()
        self._snapshots = self._draws = 0
        self._snapshot_s = self._draw_s = 0.0
        self._tracker: Any = None
        self._done = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        from ray.tune.execution.tune_controller import TuneController

        from tuner import runner
        from tuner.searcher import JournalSearcher

        tracker, probe = runner.Tracker, self

        class Known(tracker):  # type: ignore[misc,valid-type]
            def __init__(self, *arguments: Any, **named: Any) -> None:
                super().__init__(*arguments, **named)
                probe._tracker = self

        wrapped = [(TuneController, "save_to_dir", self._snapshot), (JournalSearcher, "_next", self._draw)]
        before = [getattr(owner, name) for owner, name, _ in wrapped]
        for (owner, name, note), method in zip(wrapped, before, strict=True):
            setattr(owner, name, _timed(method, note))
        runner.Tracker = Known
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()
            runner.Tracker = tracker
            for (owner, name, _), method in zip(wrapped, before, strict=True):
                setattr(owner, name, method)

    def _snapshot(self, seconds: float) -> None:
        self._snapshots, self._snapshot_s = self._snapshots + 1, self._snapshot_s + seconds

    def _draw(self, seconds: float) -> None:
        self._draws, self._draw_s = self._draws + 1, self._draw_s + seconds

    def _look(self) -> None:
        with self._file.open("w") as file:
            ended = False
            while not ended:
                ended = self._done.wait(SECONDS_BETWEEN_SAMPLES)
                self.samples.append(self._sample())
                print(json.dumps(asdict(self.samples[-1])), file=file, flush=True)

    def _sample(self) -> Sample:
        threads = {thread.id: thread.user_time + thread.system_time for thread in self._process.threads()}
        writer = next((one.native_id for one in threading.enumerate() if one.name == "tracking"), None)
        trials = list(self._journal.trials.values())
        states = sorted(self._journal.folder.glob("launch-*/experiment_state-*.json"))
        return Sample(
            trials=sum(trial.ended for trial in trials),
            reports=sum(len(trial.reports) for trial in trials),
            at=time.monotonic(),
            cpu_s=threads[self._process.pid],
            mlflow_s=threads.get(writer, 0.0) if writer is not None else 0.0,
            memory_mb=self._process.memory_info().rss / 1e6,
            journal_mb=(self._journal.folder / FILE).stat().st_size / 1e6,
            snapshot_mb=states[-1].stat().st_size / 1e6 if states else 0.0,
            snapshots=self._snapshots,
            snapshot_s=self._snapshot_s,
            draws=self._draws,
            draw_s=self._draw_s,
            unwritten=0 if self._tracker is None else self._tracker._writer.waiting,
            running=sum(trial.state == "running" for trial in trials),
        )


def _timed(method: Any, note: Any) -> Any:
    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return method(*arguments, **named)
        finally:
            note(time.thread_time() - began)

    return timed


def windows(samples: Sequence[Sample], trials: int, parts: int = WINDOWS) -> list[Window]:
    """The sweep in parts of equally many trials; each has at least two samples."""
    marks = [next(one for one in samples if one.trials >= trials * part / parts) for part in range(parts + 1)]
    return [_window(first, last) for first, last in itertools.pairwise(marks)]


def _window(first: Sample, last: Sample) -> Window:
    reports, draws = max(1, last.reports - first.reports), max(1, last.draws - first.draws)
    drawing = last.draw_s - first.draw_s
    return Window(
        trials=last.trials,
        report_ms=1000 * (last.cpu_s - first.cpu_s - drawing) / reports,
        draw_ms=1000 * drawing / draws,
        mlflow_ms=1000 * (last.mlflow_s - first.mlflow_s) / reports,
        snapshot_ms=1000 * (last.snapshot_s - first.snapshot_s) / max(1, last.snapshots - first.snapshots),
        snapshot_mb=last.snapshot_mb,
        memory_mb=last.memory_mb,
        journal_mb=last.journal_mb,
        reports_a_second=reports / max(1e-9, last.at - first.at),
        unwritten=last.unwritten,
        running=last.running,
    )


def measure(sweep: Sweep, epoch_s: float, samples: Path) -> tuple[list[Window], dict[str, float]]:
    """Runs the sweep on replayed curves; its windows, and what reading its journal takes afterwards.

    samples: the file of what was seen twice a second.
    """
    plan = make_plan(sweep, here=False)
    cluster.prepare_environment(sweep)
    from ray import tune

    from tuner import runner
    from tuner.simulation.replay import Recorded, ReplayTrainable

    curves = Curves.read(CURVES, load_sweep(SWEEP))
    values = tuple(tuple(map(float, curve.values)) for curve in curves.trials if len(curve.values) == curves.epochs)
    recorded = Recorded(sweep.objective.metric, values, OTHERS, epoch_s)
    journal = Journal(sweep.folder)
    journal.open()
    probe = Probe(journal, samples)
    try:
        journal.write("sweep", **runner.header(plan))
        board = Board(sweep, plan.trials, plan.epochs, [], open(os.devnull, "w"))  # noqa: SIM115
        with cluster.local_ray(sweep.budget.concurrent), probe.watching():
            replay = tune.with_parameters(ReplayTrainable, recorded=recorded)
            outcome = runner.launch(plan, journal, board, replay)
    finally:
        journal.close()
    assert outcome.state == "finished", outcome.reason
    began = time.process_time()
    read = Journal.read(sweep.folder)
    return windows(probe.samples, plan.trials), {
        "read_s": time.process_time() - began,
        "reports": float(sum(len(trial.reports) for trial in read.trials.values())),
        "unwritten": float(outcome.written.failed),
        "wall_s": probe.samples[-1].at - probe.samples[0].at,
    }


def sweep_of(folder: Path, trials: int, concurrent: int, *settings: str) -> Sweep:
    """The emoji sweep with so many trials, all of it below the folder."""
    return load_sweep(
        SWEEP,
        [f"search.trials={trials}", f"budget.concurrent={concurrent}", f"storage={folder}/runs",
         f"tracking=sqlite:///{folder}/mlflow.db", "budget.free_gb=0", *settings],
    )  # fmt: skip


def table(found: Sequence[Window]) -> str:
    """Markdown, a row a window."""
    rows = [list(asdict(window).values()) for window in found]
    head = " | ".join(asdict(found[0]))
    told = [" | ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row) for row in rows]
    return "\n".join([f"| {head} |", "|" + "---|" * len(rows[0]), *(f"| {row} |" for row in told)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--concurrent", type=int, default=32)
    parser.add_argument("--epoch-s", type=float, default=0.5, help="seconds that a replayed epoch takes")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder for scale.json")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="of the sweep, KEY=VALUE")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        asked = sweep_of(Path(place), given.trials, given.concurrent, *given.settings)
        found, rest = measure(asked, given.epoch_s, given.out / "scale.jsonl")
    about = {"machine": report.machine(), "windows": [asdict(window) for window in found], **rest}
    (given.out / "scale.json").write_text(json.dumps(about, indent=2))
    print(table(found))
    print(rest)
