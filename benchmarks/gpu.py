"""On a GPU: losses, evaluation and epochs beside their limits and peers, on the clock; without one there are no rows.

    python -m benchmarks.gpu [--full]

Every way waits for the device before it is timed and after. Embeddings and labels are on the device already. The peers
are those of the CPU's benchmarks, on the same device.
"""

import os
import sys
from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from pytorch_metric_learning import losses as library
from torch import Tensor

from benchmarks import epoch, evaluation
from benchmarks.evaluation import INATURALIST, KS, SMALL, SOP, Size
from benchmarks.harness import Row, in_turn, median, ratio, table
from benchmarks.losses import Step, product, training_step
from benchmarks.peers import all_pairs
from trainables.evaluation import retrieval_metrics
from trainables.losses import ROADMAP, SmoothAP, SupAP

SUBJECT = epoch.GPU
DEVICE = "cuda"
STRIP = 4096  # rows of a product
TIMES = 20  # steps of a loss in a round
WORKERS = 8
LIMIT = {INATURALIST: 2.0}
"""The goal: the clock beside the whole product alone."""


def run(full: bool) -> list[Row]:
    """full: iNaturalist's size too, and more epochs."""
    if not torch.cuda.is_available():
        return []
    rows = [*losses([(128, 0), (384, 0), (1024, 0), (4096, 0), (128, 60_000)])]
    for size in (SMALL, SOP, *([INATURALIST] if full else [])):
        rows += metrics(size)
    return [*rows, *epochs(full)]


def waiting(step: Step, times: int = 1) -> Step:
    """`times` steps, timed from an idle device to an idle device."""

    def all_of_it() -> None:
        wait()
        for _ in range(times):
            step()
        wait()

    return all_of_it


def wait() -> None:
    """For all that the device has been given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def losses(sizes: Sequence[tuple[int, int]], rounds: int = 5, device: str = DEVICE) -> list[Row]:
    """Forward and backward. sizes: a batch, and the references of a memory or 0."""
    rows = []
    for size, references in sizes:
        where = f"{size} x {references}" if references else f"B = {size}"
        ways: dict[str, Step] = {
            name: training_step(loss, size, references, device=device)
            for name, loss in {"SupAP": SupAP(), "SmoothAP": SmoothAP(), "ROADMAP": ROADMAP()}.items()
        }
        if not references:
            ways["pytorch-metric-learning MultiSimilarity"] = training_step(
                library.MultiSimilarityLoss(), size, device=device
            )
        if not references and size <= 384:  # B^3 memory
            ways["all pairs"] = training_step(all_pairs.sup_ap, size, device=device)
        ways = {"product alone": product(size, references, device), **ways}
        found = in_turn({name: waiting(step, TIMES) for name, step in ways.items()}, rounds, warm_up=2)
        if "all pairs" in found:
            faster = ratio(found["all pairs"], found["SupAP"], "wall")
            rows.append(Row(SUBJECT, f"SupAP, {where}: faster than all pairs", None, faster))
        for name, timings in found.items():
            rows.append(Row(SUBJECT, f"{name}, {where}", None, 1e3 * median(timings, "wall") / TIMES, unit="ms"))
    return rows


def metrics(size: Size, rounds: int = 5, device: str = DEVICE) -> list[Row]:
    """Retrieval metrics with the whole AP, beside the product alone and beside what finds a list of 1,000."""
    rows, labels = evaluation.embeddings(size)
    there, classes = torch.from_numpy(rows).to(device), torch.from_numpy(labels).to(device)
    ways = {
        "ours": lambda: retrieval_metrics(there, classes, ks=KS, full_ranking=True),
        "product": lambda: _strips(there),
        "topk": lambda: listed(there, classes, labels),
    }
    found = in_turn({name: waiting(way) for name, way in ways.items()}, rounds)
    beyond = _peak_mib(ways["ours"]) if there.is_cuda else float("nan")
    limit, slower = (ratio(*(found[name] for name in pair), "wall") for pair in (("ours", "product"), ("topk", "ours")))
    return [
        Row(SUBJECT, f"{size.name}: metrics", None, 1e3 * median(found["ours"], "wall"), unit="ms"),
        Row(SUBJECT, f"{size.name}: metrics / the whole product", LIMIT.get(size), limit, at_least=False),
        Row(SUBJECT, f"{size.name}: product and topk({max(KS)}) / metrics", None, slower),
        Row(SUBJECT, f"{size.name}: peak beyond the embeddings", None, beyond, unit="MiB"),
    ]


def _peak_mib(way: Step) -> float:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    way()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _strips(rows: Tensor) -> None:
    for start in range(0, len(rows), STRIP):
        rows[start : start + STRIP] @ rows.T


def listed(rows: Tensor, classes: Tensor, labels: NDArray) -> dict[str, float]:
    """By the 1,000 highest of each strip; no whole AP."""
    return evaluation.listed_metrics(evaluation.topk_matches(rows, classes, max(KS), STRIP), labels)


def epochs(full: bool) -> list[Row]:
    """Where an epoch goes, on the clock, waiting for the device between its parts."""
    threads = min(WORKERS, len(os.sched_getaffinity(0)))
    return epoch.run(full, (f"experience.num_threads={threads}",), device=DEVICE)


if __name__ == "__main__":
    print(table(run("--full" in sys.argv[1:])))
