"""What is kept of a run: the machine, the rows as JSON, two plots, the tables of docs/performance.md."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import epoch
from benchmarks.harness import Row, as_json

LIBRARIES = ("torch", "numpy", "pytorch-metric-learning", "torchvision", "timm")
PLOTS = ("losses.svg", "epoch.svg")
Curves = Mapping[str, Sequence[tuple[int, float]]]


def machine() -> dict[str, str]:
    """What the numbers hang on, the load at the start among them."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else []
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load average": f"{os.getloadavg()[0]:.1f}",
        **({"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "system": platform.system(),
        "python": platform.python_version(),
        "waiting threads": os.environ.get("OMP_WAIT_POLICY", "default"),
        **{library: version(library) for library in LIBRARIES},
    }


def write(out: Path, rows: Sequence[Row], about: Mapping[str, str], curves: Curves) -> None:
    """out/results.json and the plots: of the losses, and of the epoch where it was measured."""
    out.mkdir(parents=True, exist_ok=True)
    results = {**json.loads(as_json(rows, about)), "curves": dict(curves)}
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    plot_curves(out / "losses.svg", curves)
    if parts := epoch.shares(rows):
        plot_shares(out / "epoch.svg", parts)


def plot_shares(file: Path, shares: Mapping[str, Mapping[str, float]]) -> None:
    """A bar a model, model -> part -> %: what an epoch is spent on."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.2), layout="constrained")
    axes = figure.add_subplot()
    done = dict.fromkeys(shares, 0.0)
    for part in epoch.PARTS:
        widths = [own[part] for own in shares.values()]
        axes.barh(list(shares), widths, left=list(done.values()), label=part)
        done = {name: start + width for (name, start), width in zip(done.items(), widths, strict=True)}
    axes.invert_yaxis()
    axes.set(xlabel="% of the CPU time of an epoch", xlim=(0, 100))
    figure.legend(loc="outside upper center", ncols=len(epoch.PARTS), fontsize="small", frameon=False)
    _save(figure, file)


def plot_curves(file: Path, curves: Curves) -> None:
    """Cost of forward and backward against the size of the batch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, points in curves.items():
        limit = name == "product alone"
        axes.plot(*zip(*points, strict=True), label=name, marker="o", color="black" if limit else None)
    axes.set(xscale="log", yscale="log", xlabel="images in the batch", ylabel="CPU ms, forward and backward")
    axes.set_xticks(ticks := sorted({size for points in curves.values() for size, _ in points}), map(str, ticks))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None})


def fill(document: str, results: Mapping[str, Any]) -> str:
    """The document with the tables of results between its marks; a section that was not run stays as it is."""
    for subject in sorted({row["subject"] for row in results["rows"]}):
        rows = [
            Row(**{k: v for k, v in row.items() if k != "met"}) for row in results["rows"] if row["subject"] == subject
        ]
        about = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
        document = _between(document, subject, f"Measured on: {about}.\n\n{markdown(rows)}")
    return document


def _between(document: str, name: str, text: str) -> str:
    start, end = f"<!-- {name}: written by python -m benchmarks --docs -->", f"<!-- end of {name} -->"
    before, _, rest = document.partition(start)
    after = rest.partition(end)[2]
    assert rest and after, f"docs/performance.md has no section {name}"
    return f"{before}{start}\n{text}\n{end}{after}"


def markdown(rows: Sequence[Row]) -> str:
    lines = ["| what | goal | measured | |", "|---|---|---|---|"]
    for row in rows:
        goal = "" if row.goal is None else f"{'>=' if row.at_least else '<='} {row.goal:g} {row.unit}"
        met = {True: "met", False: "**NOT MET**", None: ""}[row.met]
        lines.append(f"| {row.what} | {goal} | {row.measured:.3g} {row.unit} | {met} |")
    return "\n".join(lines)
