"""Neighbour lists by faiss, and that both engines give the same metrics."""

import builtins

import numpy as np
import pytest
import torch

from tests.reference.metrics import ranked_metrics
from tests.trainables.evaluation.test_metrics import random_split
from trainables.errors import UserError
from trainables.evaluation import nearest_neighbours, retrieval_metrics


def test_lists_are_the_sorted_cosines():
    query, _ = random_split(size=20)
    gallery, _ = random_split(size=70, seed=1)
    scores, indices = nearest_neighbours(query, gallery, k=5)
    unit = query / np.linalg.norm(query, axis=1, keepdims=True)
    other = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    expected = np.argsort(-(unit @ other.T), axis=1)[:, :5]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(unit @ other.T, expected, 1), atol=1e-6)
    assert scores.dtype == np.float32
    assert indices.dtype == np.int64


def test_the_query_is_left_out_by_index():
    rows, _ = random_split(size=50)
    rows[10:20] = rows[9]
    _, indices = nearest_neighbours(rows, k=6)
    assert indices.shape == (50, 6)
    assert not (indices == np.arange(50)[:, None]).any()
    assert set(indices[9]) <= set(range(10, 20)), "its copies stay"
    assert all(len(set(row)) == 6 for row in indices)


def test_short_lists_are_filled():
    rows, _ = random_split(size=4)
    scores, indices = nearest_neighbours(torch.from_numpy(rows), k=6)
    assert scores.shape == indices.shape == (4, 6)
    assert (indices[:, 3:] == -1).all()
    assert (scores[:, 3:] == -np.inf).all()
    assert (indices[:, :3] >= 0).all()


def test_both_engines_give_the_same_metrics():
    rows, labels = random_split(size=500, classes=80, dim=24, seed=3)
    _, indices = nearest_neighbours(rows, k=499)
    rankings = [(labels[row] == label).tolist() for row, label in zip(indices, labels, strict=True)]
    by_query = [ranked_metrics(relevant, (1, 10)) for relevant in rankings if any(relevant)]
    metrics = retrieval_metrics(rows, labels, ks=(1, 10), full_ranking=True)
    for name in by_query[0]:
        assert metrics[name] == pytest.approx(np.mean([row[name] for row in by_query]), abs=1e-6)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_k_is_a_whole_number(k):
    with pytest.raises(UserError, match="whole number from 1"):
        nearest_neighbours(random_split(size=5)[0], k=k)


def test_dimensions_must_match():
    with pytest.raises(UserError, match="12 dimensions, gallery embeddings 4"):
        nearest_neighbours(random_split()[0], random_split(dim=4)[0])


def test_metrics_need_no_faiss(monkeypatch):
    original = builtins.__import__

    def refuse(name, *rest, **more):
        assert name != "faiss"
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    retrieval_metrics(*random_split())
