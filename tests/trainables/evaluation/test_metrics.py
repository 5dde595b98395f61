"""Retrieval metrics: golden values, a slow implementation, fractions worked by hand, and another library."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.reference.metrics import slow_metrics
from trainables.errors import UserError
from trainables.evaluation import per_query_metrics, retrieval_metrics

GOLDEN = Path(__file__).parents[2] / "golden"
OUR_NAMES = {
    "mean_average_precision_at_r": "map_at_r",
    "mean_average_precision": "map",
    "mean_reciprocal_rank": "mrr",
}


def random_split(size=300, classes=40, dim=12, seed=0, noise=1.0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, size)
    centres = random.standard_normal((classes, dim))
    rows = centres[labels] + noise * random.standard_normal((size, dim))
    return rows.astype(np.float32), labels


def compare_with_slow(query, query_labels, gallery=None, gallery_labels=None, ks=(1, 2, 10, 1000), **options):
    ours = per_query_metrics(query, query_labels, gallery, gallery_labels, ks=ks, full_ranking=True, **options)
    expected = slow_metrics(query, query_labels, gallery, gallery_labels, ks=ks)
    for i, row in enumerate(expected):
        for name, values in ours.items():
            if row is None:
                assert np.isnan(values[i])
            else:
                assert values[i] == pytest.approx(row[name], abs=1e-12), (i, name)
    return ours


@pytest.mark.parametrize("case", ["same_source", "query_gallery"])
def test_golden_values(case):
    arrays = np.load(GOLDEN / "evaluation.npz")
    names = ("query", "query_labels", "gallery", "gallery_labels")
    given = {name: arrays[f"{case}/{name}"] for name in names if f"{case}/{name}" in arrays}
    metrics = retrieval_metrics(**given, ks=(1, 2, 4, 8, 10), full_ranking=True)
    for name, value in json.loads((GOLDEN / "evaluation.json").read_text())[case].items():
        assert metrics[OUR_NAMES.get(name, name)] == pytest.approx(value, abs=1e-6), name


def test_fractions_worked_by_hand():
    # One query of class 0 on the unit circle; the gallery stands at growing angles from it.
    angles = np.deg2rad([10, 20, 30, 40, 50, 60])
    gallery = np.stack([np.cos(angles), np.sin(angles)], 1)
    metrics = retrieval_metrics(
        np.array([[1.0, 0.0]]), [0], gallery, [1, 0, 0, 1, 1, 0], ks=(1, 2, 3), full_ranking=True
    )
    # Positives at ranks 2, 3, 6 and R = 3.
    assert metrics == pytest.approx(
        {
            "recall_at_1": 0,
            "recall_at_2": 1,
            "recall_at_3": 1,
            "precision_at_1": 0,
            "r_precision": 2 / 3,
            "map_at_r": (1 / 2 + 2 / 3) / 3,
            "map": (1 / 2 + 2 / 3 + 3 / 6) / 3,
            "mrr": 1 / 2,
            "num_queries": 1,
            "num_lone_queries": 0,
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_same_as_slow(seed):
    compare_with_slow(*random_split(seed=seed))


@pytest.mark.parametrize("seed", range(3))
def test_same_as_slow_with_gallery(seed):
    query, labels = random_split(size=90, classes=50, seed=seed)
    gallery, gallery_labels = random_split(size=211, classes=30, seed=seed + 10)
    compare_with_slow(query, labels, gallery, gallery_labels)


def test_same_as_pytorch_metric_learning():
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    names = ("mean_average_precision_at_r", "precision_at_1", "r_precision")
    peer = calculator.AccuracyCalculator(include=names, k="max_bin_count", device=torch.device("cpu"))
    rows, labels = random_split(size=600, classes=80, dim=32, seed=5)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = peer.get_accuracy(torch.from_numpy(rows), torch.from_numpy(labels))
    metrics = retrieval_metrics(rows, labels)
    for name in names:
        assert metrics[OUR_NAMES.get(name, name)] == pytest.approx(expected[name], abs=1e-6)


def test_metrics_are_means_by_query_and_lone_queries_are_left_out():
    rows, labels = random_split(size=60, classes=12)
    labels[[3, 7]] = [100, 101]
    values = per_query_metrics(rows, labels)
    metrics = retrieval_metrics(rows, labels)
    assert metrics["num_queries"] == 60
    assert metrics["num_lone_queries"] == np.isnan(values["map_at_r"]).sum() >= 2
    assert np.isnan(values["map_at_r"][[3, 7]]).all()
    for name, value in values.items():
        assert value.shape == (60,)
        assert metrics[name] == np.nanmean(value)


def test_keys_and_defaults():
    rows, labels = random_split(size=50, classes=10)
    recalls = [f"recall_at_{k}" for k in (1, 10, 100, 1000)]
    always = [*recalls, "precision_at_1", "r_precision", "map_at_r"]
    counts = ["num_queries", "num_lone_queries"]
    assert list(retrieval_metrics(rows, labels)) == always + counts
    assert list(retrieval_metrics(rows, labels, full_ranking=True)) == [*always, "map", "mrr", *counts]
    assert retrieval_metrics(rows, labels)["recall_at_1000"] == 1, "k may exceed the gallery"
    assert all(type(value) is float for value in retrieval_metrics(rows, labels).values())


@pytest.mark.parametrize(
    "convert",
    [
        torch.from_numpy,
        lambda rows: torch.from_numpy(rows).requires_grad_(),
        lambda rows: rows.astype(np.float64),
        lambda rows: np.asfortranarray(rows),
        lambda rows: 8 * rows,
        lambda rows: rows[::-1][::-1],
    ],
)
def test_kinds_of_input_agree_exactly(convert):
    rows, labels = random_split()
    assert retrieval_metrics(convert(rows), labels) == retrieval_metrics(rows, torch.from_numpy(labels))


def test_half_precision_is_read_as_float32():
    rows, labels = random_split()
    half = rows.astype(np.float16)
    expected = retrieval_metrics(half.astype(np.float32), labels)
    assert retrieval_metrics(half, labels) == expected
    assert retrieval_metrics(torch.from_numpy(half), labels) == expected
    bfloat = torch.from_numpy(rows).bfloat16()
    assert retrieval_metrics(bfloat, labels) == retrieval_metrics(bfloat.float(), labels)


def test_labels_may_be_strings_and_read_only_input_is_left_alone():
    rows, labels = random_split()
    before = rows.copy()
    rows.flags.writeable = labels.flags.writeable = False
    words = np.array([f"class {label}" for label in labels])
    assert retrieval_metrics(rows, words) == retrieval_metrics(rows, labels)
    assert (rows == before).all()


def test_precision_settings_of_the_training_do_not_matter():
    rows, labels = random_split(dim=64)
    expected = per_query_metrics(rows, labels)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = per_query_metrics(rows, labels)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_exactly():
    rows, labels = random_split(size=900)
    rows[:200] = rows[200:400]
    on_gpu = retrieval_metrics(torch.from_numpy(rows).cuda(), torch.from_numpy(labels).cuda())
    assert on_gpu == retrieval_metrics(rows, labels)


ROWS, LABELS = random_split(size=20, classes=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.where(np.arange(20)[:, None] == 7, np.nan, ROWS), LABELS), "NaN or infinity, first in row 7"),
        ((ROWS * np.inf, LABELS), "NaN or infinity"),
        ((ROWS[:0], LABELS[:0]), "empty"),
        ((ROWS[:, :0], LABELS), "empty"),
        ((ROWS[0], LABELS), "need float"),
        ((ROWS.astype(np.int64), LABELS), "need float"),
        ((ROWS, LABELS[:-1]), r"need \(20,\)"),
        ((ROWS, LABELS[:, None]), r"need \(20,\)"),
        ((ROWS, LABELS.astype(float)), "integers or strings"),
        ((ROWS, LABELS, ROWS), "go together"),
        ((ROWS, LABELS, None, LABELS), "go together"),
        ((ROWS, LABELS, ROWS[:, :5], LABELS), "12 dimensions, gallery embeddings 5"),
        ((ROWS, LABELS, ROWS[:0], LABELS[:0]), "gallery embeddings are empty"),
        ((ROWS, LABELS, ROWS, LABELS.astype(str)), "both be integers"),
        ((ROWS, np.arange(20)), "none of the 20 queries has a positive"),
        ((ROWS, LABELS, ROWS, LABELS + 50), "none of the 20 queries has a positive"),
        ((ROWS, LABELS, None, None, (1, 0)), "k=0"),
        ((ROWS, LABELS, None, None, (1.5,)), "k=1.5"),
        ((ROWS, LABELS, None, None, (True,)), "k=True"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_mistakes_are_refused(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        retrieval_metrics(*arguments)
    assert "\n" not in str(caught.value)
