"""python -m benchmarks [--full] [--out FOLDER]: every subject beside its peers; the goals, and whether they are met.

python -m benchmarks --docs [--out FOLDER]: writes the tables of the last run into docs/performance.md.
"""

import argparse
import importlib
import importlib.util
import json
import shutil
from pathlib import Path

from benchmarks import losses, report
from benchmarks.harness import Row, table

SUBJECTS = ("losses", "evaluation", "loading", "trial", "epoch", "tracking", "gpu")
DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"


def measure(full: bool, out: Path) -> None:
    """Runs the subjects that there are, prints their table and writes all of it to `out`."""
    about = report.machine()
    rows: list[Row] = []
    for subject in SUBJECTS:
        if importlib.util.find_spec(f"benchmarks.{subject}"):
            rows += importlib.import_module(f"benchmarks.{subject}").run(full)
    report.write(out, rows, about, losses.curves(full))
    print(table(rows))
    missed = sum(row.met is False for row in rows)
    print(f"\n{sum(row.met is True for row in rows)} goals met, {missed} not; results in {out}")


def write_docs(out: Path) -> None:
    """The tables and the plots of the last run, into docs/."""
    results = json.loads((out / "results.json").read_text())
    DOCUMENT.write_text(report.fill(DOCUMENT.read_text(), results))
    for name in report.PLOTS:
        shutil.copy(out / name, DOCUMENT.parent / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the large sizes too")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder for results.json and the plots")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md from the last run")
    arguments = parser.parse_args()
    if arguments.docs:
        write_docs(arguments.out)
    else:
        measure(arguments.full, arguments.out)
