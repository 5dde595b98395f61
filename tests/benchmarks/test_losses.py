"""The loss benchmarks at a tiny size: they run, and their peers compute the same as ours."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, harness, losses, report
from benchmarks.harness import Row
from benchmarks.peers import all_pairs
from tests.trainables.losses.cases import LABELS, close, gradient, unit
from trainables.losses import SmoothAP, SupAP


@pytest.mark.parametrize("dim", [5, 64])
@pytest.mark.parametrize("ours, plain", [(SupAP(), all_pairs.sup_ap), (SmoothAP(), all_pairs.smooth_ap)])
def test_all_pairs_computes_the_same(ours: losses.Loss, plain: losses.Loss, dim: int) -> None:
    embeddings = unit(12, 1, dim).requires_grad_()
    value, expected = ours(embeddings, LABELS), plain(embeddings, LABELS)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert close(gradient(value, embeddings), gradient(expected, embeddings), rel=1e-6)


def test_every_comparison_runs() -> None:
    rows = [
        *losses.against_all_pairs({8: 40.0}, rounds=1),
        *losses.against_the_limit([8]),
        *losses.against_a_memory(8, 20, rounds=1),
        *losses.half_precision(8, rounds=1),
    ]
    assert all(row.measured > 0 for row in rows)
    assert "SupAP, B = 8" in harness.table(rows)


@pytest.mark.slow
def test_the_peak_shows_although_this_process_has_been_larger() -> None:
    torch.zeros(2**28)  # 1 GiB, more than the step below ever needs
    (sup, _) = losses.memory_use({(2048, 0): 1024.0})
    assert sup.measured > 2048 * 2048 * 4 / 2**20


def test_a_report_is_written_and_goes_into_the_document(tmp_path: Path) -> None:
    rows = [Row("losses", "cost", 1.5, 2.0, at_least=False), Row("losses", "speed", None, 3.0)]
    report.write(tmp_path, rows, {"cores": "2"}, {"product alone": [(8, 1.0), (16, 2.0)]})
    results = json.loads((tmp_path / "results.json").read_text())
    document = "a\n<!-- losses: written by python -m benchmarks --docs -->\nold\n<!-- end of losses -->\nb\n"
    filled = report.fill(document, results)
    assert "| cost | <= 1.5 x | 2 x | **NOT MET** |" in filled
    assert "old" not in filled
    assert report.fill(filled, results) == filled
    assert (tmp_path / "losses.svg").stat().st_size > 1000


def test_what_runs_on_a_gpu_runs_here_too() -> None:
    rows = gpu.losses([(8, 0), (8, 20)], rounds=1, device="cpu")
    assert all(row.measured > 0 for row in rows)
    assert [row.what for row in rows if "all pairs" in row.what] == [
        "SupAP, B = 8: faster than all pairs",
        "all pairs, B = 8",
    ]
