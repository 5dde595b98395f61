"""Retrieval metrics beside the peers: `python -m benchmarks.evaluation`, with --full at the real sizes.

Every way runs on one thread. The rows are classes with noise, about as hard as a trained network's on Stanford Online
Products; how long a way that only sorts takes does not depend on it.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import Row, Timing, in_turn, median, peak_mib, ratio, table
from trainables.evaluation import bootstrap_intervals, per_query_metrics, retrieval_metrics, tiles

SUBJECT = "evaluation"
KS = (1, 10, 100, 1000)
STRIP = 768  # rows of a chunked product


@dataclass(frozen=True)
class Size:
    """As many images and classes as a test set has; k: how far the reference's search looks."""

    name: str
    images: int
    classes: int
    largest: int  # class
    dim: int = 512
    k: int = 2047


SMALL = Size("12,000 like SOP", 12_000, 2_244, 12)
SOP = Size("SOP, 60,502", 60_502, 11_316, 12)
INATURALIST = Size("iNaturalist, 136,093", 136_093, 2_452, 100)
# Classes as large, a sixteenth of the pairs.
QUARTER = Size("a quarter of iNaturalist, 34,023", 34_023, 613, 100)


def embeddings(size: Size, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit rows (N, D) and their classes (N,), filled in place: no copy shows in a peak of memory."""
    random = np.random.default_rng(seed)
    smallest = 2
    share = random.dirichlet(np.full(size.classes, 2.0))
    wanted = np.minimum(smallest + share * (size.images - smallest * size.classes), size.largest)
    sizes = wanted.astype(np.int64)
    while (missing := size.images - int(sizes.sum())) > 0:
        growing = np.flatnonzero(sizes < size.largest)
        sizes[random.permutation(growing)[:missing]] += 1
    labels = random.permutation(np.repeat(np.arange(size.classes), sizes))
    spectrum = np.arange(1, size.dim + 1, dtype=np.float32) ** -0.5
    centres = random.standard_normal((size.classes, size.dim), dtype=np.float32)
    rows = np.empty((size.images, size.dim), np.float32)
    for start in range(0, size.images, STRIP):
        part = rows[start : start + STRIP]
        noise = 0.4 + 1.2 * random.random((len(part), 1), dtype=np.float32)
        random.standard_normal(out=part, dtype=np.float32)
        part *= noise
        part += centres[labels[start : start + STRIP]]
        part *= spectrum
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows, labels


def counted(rows: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Ours, with what no list of fixed length gives: the whole AP."""
    return retrieval_metrics(rows, labels, ks=KS, full_ranking=True)


def counted_by_torch(rows: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """The same where there is no numba."""
    with mock.patch.object(tiles, "kernel_there", return_value=False):
        return counted(rows, labels)


def faiss_then_labels(rows: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> dict[str, float]:
    """The reference's way: a flat index, k neighbours, whether their labels match."""
    import faiss

    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    found = index.search(rows, min(k + 1, len(rows)))[1]
    own = found == np.arange(len(rows))[:, None]
    own[~own.any(1), -1] = True
    found = found[~own].reshape(len(rows), -1)
    return listed_metrics(torch.from_numpy(labels[found] == labels[:, None]), labels)


def product_then_topk(rows: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> dict[str, float]:
    """A strip of the product at a time, its k highest, whether their labels match."""
    return listed_metrics(topk_matches(torch.from_numpy(rows), torch.from_numpy(labels), k, STRIP), labels)


def topk_matches(rows: torch.Tensor, labels: torch.Tensor, k: int, strip: int) -> torch.Tensor:
    """(N, k) bool, on the device of the rows (N, D): whether the k others that score highest have the row's label."""
    matches = []
    for start in range(0, len(rows), strip):
        scores = rows[start : start + strip] @ rows.T
        own = torch.arange(len(scores), device=rows.device)
        scores[own, start + own] = -torch.inf
        found = scores.topk(min(k, len(rows) - 1), dim=1).indices
        matches.append(labels[found] == labels[start : start + strip, None])
    return torch.cat(matches)


def listed_metrics(match: torch.Tensor, labels: NDArray[np.int64]) -> dict[str, float]:
    """R@k and mAP@R of lists (N, k) that are at least as long as the largest class."""
    positives = torch.from_numpy(np.bincount(labels)[labels] - 1).to(match.device)
    match = match[positives > 0]
    positives = positives[positives > 0]
    head = match[:, : int(positives.max())].double()
    place = torch.arange(1, head.shape[1] + 1, device=match.device)
    precision = head.cumsum(1) / place * head * (place <= positives[:, None])
    recalls = {f"recall_at_{k}": float(match[:, :k].any(1).double().mean()) for k in KS if k <= match.shape[1]}
    return {**recalls, "map_at_r": float((precision.sum(1) / positives).mean())}


def pml_calculator(rows: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """pytorch-metric-learning's AccuracyCalculator: lists as long as the largest class, so no R@1000 and no AP."""
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(include=names, k="max_bin_count", device=torch.device("cpu"))
    found = calculator.get_accuracy(torch.from_numpy(rows), torch.from_numpy(labels))
    return {"recall_at_1": found["precision_at_1"], "map_at_r": found["mean_average_precision_at_r"]}


def product(rows: NDArray[np.float32], precision: str = "highest") -> None:
    """The whole product alone, in tiles that are thrown away; "highest": float32 by torch's first library."""
    all_rows = torch.from_numpy(rows)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        for start in range(0, len(rows), STRIP):
            for first in range(0, len(rows), STRIP):
                all_rows[start : start + STRIP] @ all_rows[first : first + STRIP].T
    finally:
        torch.set_float32_matmul_precision(before)


def evaluated(warm: bool, name: str, images: int, classes: int, largest: int, dim: int, k: int) -> None:
    """For `peak_mib`: rows and their metrics."""
    one_thread()
    size = Size(name, images, classes, largest, dim, k)
    counted(*embeddings(Size(name, 2_000, 400, 12, dim) if warm else size))


def one_thread() -> None:
    import faiss

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)


def beside_peers(size: Size, rounds: int, warm_up: int, all_ways: bool = True) -> list[Row]:
    """Against the sorting ways, and what the intervals add. all_ways: with the peers and limits that have no goal."""
    rows, labels = embeddings(size)
    found: dict[str, dict[str, float]] = {}

    def keep(name: str, way: partial[dict[str, float]]) -> None:
        found[name] = way()

    measured = {
        "ours": partial(counted, rows, labels),
        "torch": partial(counted_by_torch, rows, labels),
        "faiss": partial(faiss_then_labels, rows, labels, size.k),
    }
    ways = {name: partial(keep, name, way) for name, way in measured.items()}
    if all_ways:
        ways["topk"] = partial(product_then_topk, rows, labels, max(KS))
        ways["pml"] = partial(pml_calculator, rows, labels)
        ways["product"] = partial(product, rows)
        ways["medium product"] = partial(product, rows, "medium")
    ways["intervals"] = partial(bootstrap_intervals, per_query_metrics(rows, labels, ks=KS, full_ranking=True))
    times = in_turn(ways, rounds, warm_up)
    both = [found[name][metric] - value for name in ("ours", "torch") for metric, value in found["faiss"].items()]
    return [
        *_goals(size, times, max(map(abs, both))),
        *(_without_goals(size, times) if all_ways else []),
        Row(SUBJECT, f"{size.name}: R@1 of these rows", None, found["ours"]["recall_at_1"], unit=""),
    ]


def _goals(size: Size, times: dict[str, list[Timing]], apart: float) -> list[Row]:
    ours, torch_alone, faiss = times["ours"], times["torch"], times["faiss"]
    peer = f"{size.name}: CPU time, faiss flat k = {size.k} / ours"
    # Intervals grow with the queries, the metrics with their square: the promise is for the size of SOP.
    few_percent = 5 if size.images >= SOP.images else None
    share = 100 * ratio(times["intervals"], ours)
    return [
        Row(SUBJECT, f"{peer}, pure torch", 3, ratio(faiss, torch_alone)),
        Row(SUBJECT, f"{peer}, compiled kernel", 6, ratio(faiss, ours)),
        Row(SUBJECT, f"{size.name}: ours, pure torch", None, median(torch_alone), unit="CPU s"),
        Row(SUBJECT, f"{size.name}: ours, compiled kernel", None, median(ours), unit="CPU s"),
        Row(SUBJECT, f"{size.name}: intervals of all metrics, 1,000 rounds", few_percent, share, False, "% of ours"),
        Row(SUBJECT, f"{size.name}: metrics, ours less faiss's", 1e-6, apart, False, ""),
    ]


def _without_goals(size: Size, times: dict[str, list[Timing]]) -> list[Row]:
    ours = times["ours"]
    pairs = {
        f"product and topk({max(KS)}) / ours": (times["topk"], ours),
        "pytorch-metric-learning, mAP@R and R@1 only / ours": (times["pml"], ours),
        "ours / the whole product": (ours, times["product"]),
        "ours / the whole product at 'medium'": (ours, times["medium product"]),
    }
    return [Row(SUBJECT, f"{size.name}: {what}", None, ratio(*pair)) for what, pair in pairs.items()]


def beside_product(size: Size, rounds: int, warm_up: int) -> list[Row]:
    """Against the limit alone: for sizes at which the peers take an hour."""
    rows, labels = embeddings(size)
    times = in_turn({"ours": partial(counted, rows, labels), "product": partial(product, rows)}, rounds, warm_up)
    return [
        Row(SUBJECT, f"{size.name}: ours / the whole product", 2, ratio(times["ours"], times["product"]), False),
        Row(SUBJECT, f"{size.name}: ours", None, median(times["ours"]), unit="CPU s"),
    ]


def memory(size: Size) -> Row:
    """What an evaluation takes beyond the caller's rows."""
    peak = peak_mib("benchmarks.evaluation:evaluated", **vars(size))
    beyond = peak - size.images * size.dim * 4 / 2**20
    # The promise is for the size of SOP.
    goal = 300 if size.images <= SOP.images else None
    return Row(SUBJECT, f"{size.name}: peak beyond the embeddings", goal, beyond, False, "MiB")


def run(full: bool) -> list[Row]:
    """full: the real sizes, about fifteen minutes; else, in about five, 12,000 rows, and once the size of SOP beside
    faiss alone and a quarter of iNaturalist."""
    before = torch.get_num_threads()
    one_thread()
    try:
        rows = [*beside_peers(SMALL, 3, 1), memory(SMALL)]
        rows += [*beside_peers(SOP, 1, 0, all_ways=full), memory(SOP)]
        rows += beside_product(INATURALIST if full else QUARTER, 1, 0)
        return [*rows, memory(INATURALIST)] if full else rows
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the real sizes, about fifteen minutes")
    print(table(run(parser.parse_args().full)))
