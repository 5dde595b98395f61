"""The losses, from embeddings to the gradient on them, beside all pairs, other libraries and the product alone.

    python -m benchmarks.losses [--full]

512 dimensions, four images a class, random directions: as an untrained network's, where no comparison is far enough to
be left out. Two threads; those that wait for another sleep (OMP_WAIT_POLICY=PASSIVE). The limit is
`embeddings @ embeddings.T` and its backward pass to the embeddings (three products of B x B x 512 in all; against a
memory that has no gradient, two).
"""

import sys
from collections.abc import Callable
from functools import cache

import torch
from pytorch_metric_learning import losses as library
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.harness import Row, Timing, in_turn, median, peak_mib, ratio, table
from benchmarks.peers import all_pairs
from trainables.losses import ROADMAP, SmoothAP, SupAP

SUBJECT = "losses"
THREADS = 2
DIMENSIONS = 512
CLASS_SIZE = 4
MEMORY_CLASS_SIZE = 5  # Stanford Online Products' 60,000 images are of 11,000 classes

LOSSES: dict[str, Callable[[], nn.Module]] = {"SupAP": SupAP, "SmoothAP": SmoothAP}
LIMIT = {"SupAP": 1.5, "SmoothAP": 1.5}
"""The goal: CPU time beside the product alone, from B = 512 on and against a memory."""

Loss = Callable[..., Tensor]
Step = Callable[[], object]


@cache
def _unit(count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(count, 512) of length 1. Made in place: it is not to show in the peak memory."""
    rows = torch.randn(count, DIMENSIONS, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(rows, out=rows).to(dtype)


def _labels(count: int, class_size: int = CLASS_SIZE) -> Tensor:
    return torch.arange(count) // class_size


def training_step(
    loss: Loss, size: int, references: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Step:
    """Forward and backward of a batch, against itself or against a memory without gradient."""
    embeddings, labels = _unit(size, 0, dtype).to(device, copy=True).requires_grad_(), _labels(size).to(device)
    memory = (_unit(references, 1), _labels(references, MEMORY_CLASS_SIZE)) if references else ()
    memory = tuple(part.to(device) for part in memory)

    def step() -> None:
        embeddings.grad = None
        loss(embeddings, labels, *memory).backward()

    return step


def product(size: int, references: int = 0, device: str = "cpu") -> Step:
    """The limit: the similarities and their way back, with a gradient that is there already."""
    embeddings = _unit(size, 0).to(device, copy=True).requires_grad_()
    memory = _unit(references, 1).to(device) if references else None
    upstream = torch.ones(size, references or size, device=device)

    def step() -> None:
        embeddings.grad = None
        (embeddings @ (embeddings if memory is None else memory).T).backward(upstream)

    return step


def _repeated(step: Step, times: int) -> Step:
    def many() -> None:
        for _ in range(times):
            step()

    return many


def against_all_pairs(sizes: dict[int, float], rounds: int = 3) -> list[Row]:
    """Times faster than the plain form; sizes: B -> the goal of SupAP."""
    rows = []
    for size, goal in sizes.items():
        times = 20  # a round of ours takes long enough to be timed
        for name, ours, plain in (("SupAP", SupAP(), all_pairs.sup_ap), ("SmoothAP", SmoothAP(), all_pairs.smooth_ap)):
            found = in_turn(
                {"plain": training_step(plain, size), "ours": _repeated(training_step(ours, size), times)}, rounds
            )
            for clock in ("cpu", "wall"):
                promised = goal if name == "SupAP" and clock == "cpu" else None
                faster = times * ratio(found["plain"], found["ours"], clock)
                rows.append(Row(SUBJECT, f"{name}, B = {size}: faster than all pairs, {clock} time", promised, faster))
    return rows


def _ways(size: int, full: bool) -> dict[str, Step]:
    """Ours and the libraries' at one size; full: whatever that costs them."""
    ways = {
        "product alone": product(size),
        "SupAP": training_step(SupAP(), size),
        "SmoothAP": training_step(SmoothAP(), size),
        "ROADMAP": training_step(ROADMAP(), size),
    }
    if full or size <= 1024:
        ways["pytorch-metric-learning MultiSimilarity"] = training_step(library.MultiSimilarityLoss(), size)
    if size <= 512:  # B x B x bins, twice over
        ways["pytorch-metric-learning FastAP"] = training_step(library.FastAPLoss(10), size)
    if size <= 256:  # B^3 memory
        ways["pytorch-metric-learning SmoothAP"] = training_step(library.SmoothAPLoss(), size)
    return ways


def _rounds(size: int) -> int:
    return max(3, min(30, 12_000 // size))


def against_the_limit(sizes: list[int], full: bool = False) -> list[Row]:
    """Times the product alone, ours and the libraries'; promised of SupAP and SmoothAP from B = 512 on."""
    rows = []
    for size in sizes:
        found = in_turn(_ways(size, full), _rounds(size), warm_up=2)
        limit = found.pop("product alone")
        rows.append(Row(SUBJECT, f"product alone, B = {size}", None, 1e3 * median(limit), unit="ms"))
        for name, timings in found.items():
            goal = LIMIT.get(name) if size >= 512 else None
            rows.append(_beside(f"{name}, B = {size}: beside the product alone", timings, limit, goal))
            if goal:
                rows.append(_beside(f"{name}, B = {size}: the same, wall time", timings, limit, None, "wall"))
    return rows


def _beside(what: str, of: list[Timing], to: list[Timing], goal: float | None, clock: str = "cpu") -> Row:
    return Row(SUBJECT, what, goal, ratio(of, to, clock), at_least=False)


def against_a_memory(size: int, references: int, rounds: int = 9) -> list[Row]:
    """A batch against a memory without gradient: time beside the product alone."""
    ways = {"product alone": product(size, references)}
    ways |= {name: training_step(loss(), size, references) for name, loss in (LOSSES | {"ROADMAP": ROADMAP}).items()}
    found = in_turn(ways, rounds)
    limit = found.pop("product alone")
    return [
        _beside(f"{name}, {size} x {references}: beside the product alone", timings, limit, LIMIT.get(name))
        for name, timings in found.items()
    ]


def half_precision(size: int, rounds: int = 15) -> list[Row]:
    """Half-precision embeddings beside float32 ones."""
    names = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    found = in_turn({name: training_step(SupAP(), size, dtype=dtype) for name, dtype in names.items()}, rounds)
    whole = found.pop("float32")
    return [_beside(f"SupAP, B = {size}: {name} beside float32", half, whole, None) for name, half in found.items()]


def one_step(warm: bool, loss: str, size: int, references: int = 0) -> None:
    """What peak_mib calls: the inputs are made in the warm call, which takes a small step."""
    torch.set_num_threads(THREADS)
    step = training_step(LOSSES[loss](), size, references)
    (training_step(LOSSES[loss](), 2 * CLASS_SIZE) if warm else step)()


def memory_use(sizes: dict[tuple[int, int], float]) -> list[Row]:
    """Peak memory beyond the embeddings; sizes: (B, references or 0) -> the goal in MiB."""
    rows = []
    for (size, references), goal in sizes.items():
        for loss in LOSSES:
            peak = peak_mib("benchmarks.losses:one_step", loss=loss, size=size, references=references)
            where = f"{size} x {references}" if references else f"B = {size}"
            rows.append(Row(SUBJECT, f"{loss}, {where}: peak memory added", goal, peak, at_least=False, unit="MiB"))
    return rows


def curves(full: bool) -> dict[str, list[tuple[int, float]]]:
    """Way -> (B, CPU ms) of forward and backward: how the cost grows."""
    torch.set_num_threads(THREADS)
    found: dict[str, list[tuple[int, float]]] = {}
    for size in (64, 128, 256, 512, 1024, *((2048, 4096) if full else ())):
        ways = _ways(size, full)
        if size <= 128:
            ways["all pairs"] = training_step(all_pairs.sup_ap, size)
        for name, timings in in_turn(ways, 3).items():
            found.setdefault(name, []).append((size, 1e3 * median(timings)))
    return found


def run(full: bool) -> list[Row]:
    """Every goal of the losses; full: the libraries at B = 4096 too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    # against a memory: the scores, their gradient, and one more of their size
    bounds = {(512, 0): 32.0, (128, 60_000): 96.0, (4096, 0): 1024.0}
    try:
        return [
            *against_all_pairs({128: 40.0, 384: 450.0}),
            *against_the_limit([128, 512, 1024, 4096], full),
            *against_a_memory(128, 60_000),
            *half_precision(512),
            *memory_use(bounds),
        ]
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    print(table(run("--full" in sys.argv[1:])))
