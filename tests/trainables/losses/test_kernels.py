"""The compiled kernels against the plain form in float64 and the definitions in loops, on the same float32 scores."""

import math
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.reference import losses as slow
from tests.trainables.losses import test_golden
from tests.trainables.losses.cases import LABELS, MEMORY, gradient, unit
from trainables import losses
from trainables.losses import compiled
from trainables.losses.modules import ScoreLoss
from trainables.losses.pairs import Pairs, Slope

pytestmark = pytest.mark.skipif(compiled.kernels(torch.zeros(1)) is None, reason="needs numba")

Case = tuple[Tensor, Pairs]


def batch(embeddings: Tensor, labels: Tensor) -> Case:
    return (embeddings @ embeddings.T).float(), Pairs(labels, labels, within_batch=True)


def memory(queries: int, references: int, labels: Tensor, known: Tensor, dim: int = 5) -> Case:
    scores = unit(queries, 1, dim) @ unit(references, 2, dim).T
    return scores.float(), Pairs(labels, known, within_batch=False)


def ties(case: Case) -> Case:
    """Scores in steps of 1/8: many are equal, among positives, among negatives, and across."""
    return (case[0] * 8).round() / 8, case[1]


def at_random(count: int, classes: int) -> Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(count))


CASES: dict[str, Case] = {
    "batch": batch(unit(12, 1), LABELS),
    "wide": batch(unit(96, 1, 64), at_random(96, 20)),
    "ties": ties(batch(unit(12, 1), LABELS)),
    "many_ties": ties(batch(unit(80, 1, 3), at_random(80, 10))),
    "duplicates": batch(unit(12, 1)[[0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10]], LABELS),
    "each_alone": batch(unit(12, 1), torch.arange(12)),
    "one_class": batch(unit(12, 1), torch.zeros(12, dtype=torch.long)),
    "large_classes": batch(unit(90, 1), at_random(90, 3)),
    "one_query": batch(unit(1, 1), LABELS[:1]),
    "memory": memory(12, 7, LABELS, MEMORY[:7]),
    "memory_as_long": memory(12, 12, LABELS, MEMORY),
    "memory_of_strips": memory(5, 2500, at_random(5, 9), at_random(2500, 12)),
    "ties_of_strips": ties(memory(5, 2100, at_random(5, 9), at_random(2100, 300), 3)),
    "one_query_and_memory": memory(1, 12, LABELS[:1], MEMORY),
    "no_positive": memory(4, 7, LABELS[:4], torch.full((7,), 99)),
    "no_reference": memory(4, 0, LABELS[:4], LABELS[:0]),
}
LOSSES: dict[str, ScoreLoss] = {
    "sup": losses.SupAP(),
    "sup_cold": losses.SupAP(tau=1e-4),
    "sup_hot": losses.SupAP(tau=1e3),
    "sup_warm": losses.SupAP(tau=0.2, delta=0.3, rho=3.0),
    "sup_flat": losses.SupAP(rho=0.0),
    "sup_without_jump": losses.SupAP(offset=1.0, start=0.0),
    "sup_no_middle": losses.SupAP(delta=None, offset=0.7),
    "sup_continuous": losses.SupAP(tau=0.1, delta=None, offset=None),
    "smooth": losses.SmoothAP(0.01),
    "smooth_cold": losses.SmoothAP(1e-4),
    "smooth_warm": losses.SmoothAP(0.5),
    "calibration": losses.CalibrationLoss(0.9, 0.1),
    "calibration_of_few": losses.CalibrationLoss(-0.5, 0.95),
    "roadmap": losses.ROADMAP(0.3, 0.7),
}


def near(found: Tensor, wanted: Tensor) -> bool:
    """To 1e-5, or to what float32 leaves of 1 - sigma close to 1."""
    return float((found - wanted).norm()) <= 1e-5 * float(wanted.norm()) + 2e-7


def assert_same(given: tuple[Tensor, Slope | None], exact: tuple[Tensor, Slope | None]) -> None:
    """Two values with their gradients."""
    (value, slope), (expected, plain) = given, exact
    assert slope is not None and plain is not None
    assert value.item() == pytest.approx(expected.item(), rel=2e-6, abs=2e-6)
    for found, wanted in zip(slope, plain, strict=True):
        assert (found is None) == (wanted is None)
        if found is not None and wanted is not None:
            assert found.shape == wanted.shape
            assert near(found, wanted)


@pytest.fixture
def every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches too are shared out."""
    monkeypatch.setattr(compiled, "PORTION", 1)


@pytest.mark.usefixtures("every_thread")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_plain_form_has_the_same_numbers(loss: str, case: str) -> None:
    (scores, pairs), formula = CASES[case], LOSSES[loss].formula
    before = scores.clone()
    value, slope = formula(scores, pairs, True)
    assert torch.equal(scores, before)
    assert_same((value, slope), formula(scores.double(), pairs, True))
    assert formula(scores, pairs, False) == (value, None)


@pytest.mark.parametrize("case", ["batch", "ties", "duplicates", "one_class", "memory", "memory_as_long"])
@pytest.mark.parametrize(
    "loss, definition",
    [
        ("sup", lambda scores, same: slow.sup_ap(scores, same, 0.01, 100.0, 0.05, 1.44, 0.5)),
        ("sup_flat", lambda scores, same: slow.sup_ap(scores, same, 0.01, 0.0, 0.05, 1.44, 0.5)),
        ("sup_no_middle", lambda scores, same: slow.sup_ap(scores, same, 0.01, 100.0, None, 0.7, 0.5)),
        ("smooth", lambda scores, same: slow.smooth_ap(scores, same, 0.01)),
    ],
)
def test_the_definition_has_the_same_numbers(
    loss: str, definition: Callable[[Tensor, Tensor], Tensor], case: str
) -> None:
    scores, pairs = CASES[case]
    value, slope = LOSSES[loss].formula(scores, pairs, True)
    exact = scores.double().requires_grad_()
    expected = definition(exact, pairs.same())
    assert slope is not None
    assert value.item() == pytest.approx(expected.item(), rel=2e-6, abs=2e-6)
    assert near(slope.scores, gradient(expected, exact))


def test_sigma_over_its_range() -> None:
    # One positive at 0 and one negative at x: AP = 1 / (1 + sigma(x)).
    x = np.linspace(-15, 15, 4001, dtype=np.float32)
    scores, precision = np.stack([np.zeros_like(x), x], 1), np.zeros(len(x))
    listed = np.arange(2), np.zeros(len(x), np.int64), np.ones(len(x), np.int64)
    step = 1.0, 0.0, math.inf, 0.0, 0.0, 50.0
    module, unwanted = compiled.kernels(torch.zeros(1)), np.empty((len(x), 0), np.float32)
    module.average_precisions(scores, *listed, step, False, 1.0, (0, 1), precision, unwanted)  # type: ignore[union-attr]
    exact = 1 / (1 + np.exp(-x.astype(np.float64)))
    # rounding x * log2(e) to float32 costs |x| half units in the last place, as rounding t / tau does
    assert (np.abs((1 / precision - 1) / exact - 1) < 2e-7 * (1 + np.abs(x))).all()


@pytest.mark.usefixtures("every_thread")
@pytest.mark.parametrize("loss", ["sup", "smooth", "roadmap"])
def test_the_number_of_threads_changes_no_bit(loss: str) -> None:
    scores, pairs = batch(unit(300, 1, 32), at_random(300, 70))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 3):
            torch.set_num_threads(count)
            value, slope = LOSSES[loss].formula(scores, pairs, True)
            assert slope is not None
            results.append([value, compiled.with_transpose(slope.scores), *filter(torch.is_tensor, slope[1:])])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("loss", ["sup", "smooth", "roadmap"])
@pytest.mark.parametrize("size", [20, 300])
def test_where_buffers_lie_changes_no_bit(loss: str, size: int) -> None:
    """Classes of eight and more are summed in lanes, if the buffers are apart: every call has them elsewhere."""
    scores, pairs = batch(unit(size, 1, 32), at_random(size, size // 5))
    kept, results = [], []
    for call in range(20):
        kept.append([np.empty(count, np.float32) for count in range(1 + call, 20 + call)])
        value, slope = LOSSES[loss].formula(scores.clone(), pairs, True)
        assert slope is not None
        results.append([value, *filter(torch.is_tensor, slope)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.usefixtures("every_thread")
def test_a_forked_process_has_threads_of_its_own() -> None:
    scores, pairs = CASES["wide"]
    formula, threads = losses.SupAP().formula, torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        value, _ = formula(scores, pairs, True)
        receive, send = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(
            target=lambda: send.send(formula(scores, pairs, True)[0].item())
        )
        child.start()
        assert receive.poll(60)
        assert receive.recv() == value.item()
        child.join(60)
        assert child.exitcode == 0
    finally:
        torch.set_num_threads(threads)
        child.kill()


@pytest.mark.parametrize("size", [1, 63, 64, 130])
def test_a_matrix_plus_its_transpose(size: int) -> None:
    square = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    expected = square + square.T
    assert torch.equal(compiled.with_transpose(square.clone()), expected)
    assert torch.equal(compiled.with_transpose(square.T.clone().T), expected)


@pytest.mark.parametrize("loss", ["sup", "smooth", "calibration", "roadmap"])
@pytest.mark.parametrize("where", [(3, 3), (3, 5), (0, 2)])
def test_nan_stays_visible(loss: str, where: tuple[int, int]) -> None:
    scores, pairs = CASES["batch"]
    scores = scores.clone()
    scores[where] = torch.nan
    if where[0] == where[1] and loss == "calibration":
        pytest.skip("the query itself is no pair")
    assert LOSSES[loss].formula(scores, pairs, True)[0].isnan()


@pytest.mark.parametrize("case", test_golden.CASES)
def test_golden_without_kernels(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_load", lambda: None)
    test_golden.test_golden(case)


def test_without_numba_the_plain_form_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(compiled.importlib, "import_module", missing)
    assert compiled._load.__wrapped__() is None


OF_A_PROCESS = """
import hashlib, torch
from trainables.losses import ROADMAP, SmoothAP, SupAP
generator = torch.Generator().manual_seed(0)
rows = torch.nn.functional.normalize(torch.randn(128, 64, generator=generator))
for loss in (SupAP(), SmoothAP(), ROADMAP()):
    leaf = rows.clone().requires_grad_()
    loss(leaf, torch.arange(128) // 4).backward()
    print(hashlib.sha256(leaf.grad.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_process_that_compiles_and_the_one_that_loads_agree(tmp_path: Path) -> None:
    """A first trial on a machine has the bits of all later ones."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    found = []
    for _ in range(2):
        command = [sys.executable, "-c", OF_A_PROCESS]
        found.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        assert list((tmp_path / "compiled").rglob("*.nbc"))
    assert found[0] == found[1] and found[0].count("\n") == 3
