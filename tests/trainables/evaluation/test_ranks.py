"""Ranks of the positives: ties and duplicates, tiles, symmetry, large classes, memory."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.reference.metrics import slow_metrics
from tests.trainables.evaluation.test_metrics import compare_with_slow, random_split
from trainables.evaluation import counting, per_query_metrics, positive_ranks, ranks, retrieval_metrics, tiles
from trainables.evaluation.embeddings import unit_rows
from trainables.evaluation.words import words_there


@pytest.fixture(autouse=True, params=["torch", "kernel", "kernel-8", "kernel-16"])
def way(request, monkeypatch):
    """Every test with every way of counting, whatever is worth it at its size and on this machine."""
    compiled, bits = "kernel" in request.param, int(request.param.partition("-")[2] or 0)
    if bits == 16 and not words_there():
        pytest.skip("this processor does not multiply pairs of 16 bits")
    monkeypatch.setattr(tiles, "FEW_TILES", 0 if compiled else np.inf)
    monkeypatch.setattr(tiles, "kernel_there", lambda: compiled)
    monkeypatch.setattr(tiles, "fast_bits", lambda shape: bits)


def flat_ranks(rows, labels, gallery=None, gallery_labels=None, tile=None):
    """{query: its ranks}."""
    found = {}
    for block in positive_ranks(rows, labels, gallery, gallery_labels, tile):
        for query, count, places in zip(block.queries, block.positives, block.ranks, strict=True):
            assert int(query) not in found
            assert (places[count:] == 0).all()
            found[int(query)] = places[:count].tolist()
    return found


def test_ranks_are_places_in_the_sorted_list():
    rows, labels = random_split(size=130, classes=20)
    unit = unit_rows(rows)
    scores = (unit.double() @ unit.double().T).numpy()
    np.fill_diagonal(scores, -np.inf)
    found = flat_ranks(unit, labels)
    for query in range(130):
        order = np.argsort(-scores[query])[:-1]
        expected = (np.flatnonzero(labels[order] == labels[query]) + 1).tolist()
        assert found.get(query, []) == expected


@pytest.mark.parametrize("tile", [7, 64, 75, 149, 150, 151, 5000])
def test_tiles_do_not_matter(tile):
    rows, labels = random_split(size=150, classes=25)
    rows[40:60] = rows[80:100]
    assert flat_ranks(unit_rows(rows), labels, tile=tile) == flat_ranks(unit_rows(rows), labels)


@pytest.mark.parametrize("tile", [9, 16, 50, 1000])
def test_tiles_do_not_matter_with_gallery(tile):
    query, labels = random_split(size=70, classes=30)
    gallery, others = random_split(size=151, classes=25, seed=1)
    given = unit_rows(query), labels, unit_rows(gallery), others
    assert flat_ranks(*given, tile=tile) == flat_ranks(*given)


def test_a_tile_may_be_a_single_row():
    rows, labels = random_split(size=25, classes=5)
    assert flat_ranks(unit_rows(rows), labels, tile=1) == flat_ranks(unit_rows(rows), labels)


@pytest.mark.parametrize("classes", [3, 30])
def test_symmetric_and_plain_walk_agree(monkeypatch, classes):
    rows, labels = random_split(size=200, classes=classes)
    rows[::3] = rows[1]
    symmetric = flat_ranks(unit_rows(rows), labels, tile=50)
    monkeypatch.setattr(ranks, "KEPT", 0)
    monkeypatch.setattr(ranks, "HELD", 500)
    assert flat_ranks(unit_rows(rows), labels, tile=50) == symmetric


@pytest.mark.parametrize("sizes", [(200, 90, 9), (80, 70, 60, 50, 1, 1), (12,) * 25, (299,), (150, 150)])
@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_large_classes(sizes, noise):
    random = np.random.default_rng(2)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = random.standard_normal((len(sizes), 8))[labels] + noise * random.standard_normal((len(labels), 8))
    compare_with_slow(rows.astype(np.float32), labels, tile=64)


def test_ways_of_counting_agree(monkeypatch):
    """Looking thresholds up, one pass a threshold, sorting, all in float64: the same counts."""
    rows, labels = random_split(size=400, classes=20, dim=16)
    rows[50:90] = rows[3]
    expected = flat_ranks(unit_rows(rows), labels, tile=128)
    for name, value in (("SORT_ABOVE", 0), ("_SELECT_ABOVE", 0), ("_SELECT_ABOVE", 10**6), ("_GATHERED", 0)):
        for few in (0, 1):  # by passes over the tile, by looking up what reaches
            with monkeypatch.context() as patch:
                patch.setattr(counting, "FEW", few)
                patch.setattr(counting, name, value)
                assert flat_ranks(unit_rows(rows), labels, tile=128) == expected, (name, few)


def test_a_tie_counts_against_the_query():
    rows = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    values = per_query_metrics(rows, [0, 0, 1, 1], full_ranking=True)
    # Query 0: all three score 0, its positive is last. Query 1: two negatives score 1, its positive 0.
    assert values["mrr"][:2].tolist() == [1 / 3, 1 / 3]
    # Query 2: its positive scores 1 and so does the negative row 1.
    assert values["mrr"][2:].tolist() == [1 / 2, 1 / 2]


@pytest.mark.parametrize("dim", [3, 17, 257, 640])
@pytest.mark.parametrize("tile", [13, 64, 333])
def test_duplicates_across_classes_tie_whatever_the_products_round(dim, tile):
    """Every row is in four classes: no positive may pass its copies, through any shape of product."""
    random = np.random.default_rng(dim)
    different = random.standard_normal((25, dim)).astype(np.float32)
    rows = np.concatenate([different] * 4)
    # Class of copy c of row r: rows 2 j and 2 j + 1 of one copy belong together.
    labels = np.concatenate([np.arange(25) // 2 + 100 * copy for copy in range(4)])
    shuffled = random.permutation(100)
    rows, labels = rows[shuffled], labels[shuffled]
    values = compare_with_slow(rows, labels, tile=tile)
    some = ~np.isnan(values["mrr"])
    # Three copies of the query and then three copies of its positive are before the positive.
    assert (values["mrr"][some] <= 1 / 7).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3])
def test_collapsed_embeddings_rank_every_negative_first(value):
    rows = np.full((200, 384), value, np.float32)
    labels = np.repeat(np.arange(50), 4)
    found = flat_ranks(unit_rows(rows), labels, tile=64)
    assert all(places == [197, 198, 199] for places in found.values())
    metrics = retrieval_metrics(rows, labels)
    assert metrics["recall_at_1"] == metrics["map_at_r"] == 0


def test_nearly_equal_scores_are_ranked_exactly():
    """Scores about 1e-8 apart, below what a float32 product can tell, against exact integer arithmetic."""
    random = np.random.default_rng(0)
    base = random.standard_normal(96)
    rows = (base + 1e-4 * random.standard_normal((150, 96))).astype(np.float32)
    labels = random.integers(0, 40, 150)
    unit = unit_rows(rows)
    whole = (unit.double() * 2.0**26).long().numpy().astype(object)
    found = flat_ranks(unit, labels, tile=32)
    scores = whole @ whole.T
    for query, places in found.items():
        same = labels == labels[query]
        mine = sorted((scores[query, j] for j in np.flatnonzero(same) if j != query), reverse=True)
        against = [sum(score >= bound for score in scores[query, ~same]) for bound in mine]
        assert places == [i + count for i, count in enumerate(against, start=1)]


def test_twice_and_with_other_threads_identical():
    rows, labels = random_split(size=900, classes=150, dim=48)
    rows[:100] = rows[100:200]
    first = flat_ranks(unit_rows(rows), labels, tile=256)
    assert flat_ranks(unit_rows(rows), labels, tile=256) == first
    before = torch.get_num_threads()
    torch.set_num_threads(3 - min(before, 2))
    try:
        assert flat_ranks(unit_rows(rows), labels, tile=256) == first
    finally:
        torch.set_num_threads(before)


def test_order_of_the_rows_does_not_matter():
    rows, labels = random_split(size=200, classes=30)
    rows[:50] = rows[50:100]
    order = np.random.default_rng(1).permutation(200)
    straight, shuffled = per_query_metrics(rows, labels), per_query_metrics(rows[order], labels[order])
    for name, values in straight.items():
        np.testing.assert_array_equal(values[order], shuffled[name])


def test_a_query_stays_its_own_positive_in_a_gallery():
    rows, labels = random_split(size=60, classes=10)
    assert retrieval_metrics(rows, labels, rows, labels)["recall_at_1"] == 1
    assert retrieval_metrics(rows, labels)["recall_at_1"] < 1


def test_products_of_unit_rows_are_exact_in_float64():
    unit = unit_rows(np.random.default_rng(0).standard_normal((40, 300)).astype(np.float32))
    whole = (unit.double() * 2.0**26).long()
    assert torch.equal(whole.double() / 2.0**26, unit.double())
    exact = whole.numpy().astype(object) @ whole.numpy().astype(object).T
    product = (unit.double() @ unit.double().T * 2.0**52).numpy()
    assert all(int(a) == b for a, b in zip(product.ravel(), exact.ravel(), strict=True))
    assert torch.allclose(unit.norm(dim=1), torch.ones(40), atol=1e-6)


@pytest.mark.parametrize("dim", [16, 512, 2048])
def test_rounding_bound_holds(dim):
    random = np.random.default_rng(dim)
    rows = np.concatenate([random.standard_normal((200, dim)), random.random((50, dim)), np.ones((6, dim))])
    unit = unit_rows(rows)
    error = ((unit @ unit.T).double() - unit.double() @ unit.double().T).abs().max()
    assert float(error) < counting.rounding_bound(dim) / 2


MEMORY = """
import resource, numpy as np
from pathlib import Path
from trainables.evaluation import retrieval_metrics
def peak_kib():  # of this process: on Linux that of getrusage begins at its parent's
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = np.random.default_rng(0).standard_normal((7000, 16)).astype(np.float32)
labels = np.arange(7000) % {classes}
retrieval_metrics(rows[:1000], labels[:1000] % 9)
before = peak_kib()
retrieval_metrics(rows, labels)
print((peak_kib() - before) / 1024)
"""


@pytest.mark.parametrize("classes", [1800, 350])
def test_memory_is_bounded(classes):
    """The scores alone would be 190 MiB."""
    command = [sys.executable, "-c", MEMORY.format(classes=classes)]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 100


def test_slow_metrics_know_ties():
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert slow_metrics(rows, np.array([0, 0, 1]))[0]["mrr"] == 1 / 2
