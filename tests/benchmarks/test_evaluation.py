"""The benchmark of the evaluation runs, at a size that takes no time."""

import numpy as np
import pytest
import torch

from benchmarks import evaluation, gpu

TINY = evaluation.Size("tiny", 240, 50, 9, dim=16, k=200)


def test_rows_have_the_classes_that_the_size_says():
    rows, labels = evaluation.embeddings(TINY)
    sizes = np.bincount(labels)
    assert rows.shape == (240, 16)
    assert (len(sizes), sizes.sum(), sizes.min() >= 2, sizes.max() <= 9) == (50, 240, True, True)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("peer", ["faiss_then_labels", "product_then_topk", "pml_calculator"])
def test_peers_find_the_same_metrics(peer):
    rows, labels = evaluation.embeddings(TINY)
    ours = evaluation.counted(rows, labels)
    arguments = () if peer == "pml_calculator" else (TINY.k,)
    theirs = getattr(evaluation, peer)(rows, labels, *arguments)
    assert {"recall_at_1", "map_at_r"} <= set(theirs)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("full", [False, True])
def test_every_row_is_measured(monkeypatch, full):
    for name in ("SMALL", "SOP", "INATURALIST", "QUARTER"):
        monkeypatch.setattr(evaluation, name, TINY)
    monkeypatch.setattr(evaluation, "peak_mib", lambda function, **arguments: 1.0)
    rows = evaluation.run(full)
    assert all(np.isfinite(row.measured) for row in rows)
    assert {3, 6, 2, 300, 5, 1e-6} == {row.goal for row in rows} - {None}
    assert full == any("topk" in row.what for row in rows[len(rows) // 2 :])


def test_what_runs_on_a_gpu_runs_here_too():
    metrics, beside, slower, _ = gpu.metrics(TINY, rounds=1, device="cpu")
    assert metrics.measured > 0
    assert beside.measured > 0
    assert slower.measured > 0
    rows, labels = (torch.from_numpy(part) for part in evaluation.embeddings(TINY))
    listed = gpu.listed(rows, labels, labels.numpy())
    ours = evaluation.counted(rows.numpy(), labels.numpy())
    assert {name: ours[name] for name in listed} == pytest.approx(listed, abs=1e-6)
