"""Tiles counted by Triton against the plain way: on a GPU, or in Triton's interpreter in a process of its own."""

import numpy as np
import pytest
import torch

from tests.trainables.evaluation.test_metrics import random_split
from tests.trainables.interpreter import INTERPRETED, assert_passes_interpreted
from trainables.evaluation import per_query_metrics, positive_ranks, tiles
from trainables.evaluation.embeddings import class_codes, unit_rows
from trainables.evaluation.search import Search, slices

DEVICE = "cpu" if INTERPRETED else "cuda"
fused = pytest.mark.skipif(not (INTERPRETED or torch.cuda.is_available()), reason="needs a CUDA device")


def test_in_the_interpreter():
    assert_passes_interpreted(__file__)


@pytest.fixture
def settled(monkeypatch):
    """What the counters said when they were asked whether they are done; their tiles are counted by Triton."""
    from trainables.evaluation import fused as module

    said, settle = [], module.Counter.settle
    monkeypatch.setattr(module.Counter, "settle", lambda self, tallies: said.append(settle(self, tallies)) or said[-1])
    monkeypatch.setattr(tiles, "triton_there", lambda device: True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the interpreter runs one program at a time
    yield said
    torch.set_num_threads(threads)


def by_triton(*given, **settings):
    return per_query_metrics(*(torch.as_tensor(part).to(DEVICE) for part in given), full_ranking=True, **settings)


def plainly(monkeypatch, *given, **settings):
    with monkeypatch.context() as patched:
        patched.setattr(tiles, "triton_there", lambda device: False)
        return per_query_metrics(*given, full_ranking=True, **settings)


def plain_ranks(rows, labels):
    return positive_ranks(unit_rows(rows), labels, tile=700)


def equal(one, other):
    """Equal ranks give equal recalls; means of several are summed in another order on a GPU."""
    exact = [name for name in one if "recall" in name or name == "mrr"]
    close = [name for name in one if name not in exact]
    return (
        one.keys() == other.keys()
        and all(np.array_equal(one[name], other[name], equal_nan=True) for name in exact)
        and all(np.allclose(one[name], other[name], rtol=0, atol=1e-14, equal_nan=True) for name in close)
    )


@fused
@pytest.mark.gpu
@pytest.mark.parametrize("noise", [0.5, 3.0])
@pytest.mark.parametrize(("size", "classes", "tile"), [(150, 25, None), (130, 40, 70), (90, 2, 64), (40, 40, 7)])
def test_the_plain_way_has_the_same_metrics(monkeypatch, settled, size, classes, tile, noise):
    rows, labels = random_split(size=size, classes=classes, noise=noise)
    labels[:2] = 0  # somebody has a positive
    assert equal(by_triton(rows, labels, tile=tile), plainly(monkeypatch, rows, labels, tile=tile))
    assert settled
    assert all(settled)


@fused
@pytest.mark.gpu
def test_many_thresholds_are_counted_in_another_way(monkeypatch, settled):
    """Here of some classes alone: what each has counted adds up."""
    from trainables.evaluation import fused as module

    monkeypatch.setattr(module.Counter, "widest", 5)
    counted, count = [], module.Counter.count
    monkeypatch.setattr(module.Counter, "count", lambda self, *given: counted.append(1) or count(self, *given))
    rows, labels = random_split(size=140, classes=20)
    assert equal(by_triton(rows, labels, tile=20), plainly(monkeypatch, rows, labels, tile=20))
    assert 0 < len(counted) < 28


@fused
@pytest.mark.gpu
@pytest.mark.parametrize("tile", [None, 33])
def test_a_gallery(monkeypatch, settled, tile):
    query, labels = random_split(size=70, classes=30)
    gallery, others = random_split(size=110, classes=40, seed=5)
    given = query, labels, gallery, others
    assert equal(by_triton(*given, tile=tile), plainly(monkeypatch, *given, tile=tile))
    assert all(settled)


@fused
@pytest.mark.gpu
def test_duplicates_are_decided_exactly(monkeypatch, settled):
    """Each is too near to call in float32."""
    rows, labels = random_split(size=120, classes=30, dim=257)
    rows[:40] = rows[40:80]
    assert equal(by_triton(rows, labels, tile=50), plainly(monkeypatch, rows, labels, tile=50))
    assert settled == [True]


@fused
@pytest.mark.gpu
def test_too_much_to_note_is_counted_in_another_way(monkeypatch, settled):
    from trainables.evaluation import fused as module

    noted, settle = [], module.Counter.settle
    monkeypatch.setattr(module.Counter, "settle", lambda self, t: noted.append(int(self._noted[-1])) or settle(self, t))
    monkeypatch.setattr(module, "MOST_NOTED", 100)
    rows, labels = random_split(size=100, classes=20)
    rows[:] = rows[0] + 1e-5 * rows
    assert equal(by_triton(rows, labels), plainly(monkeypatch, rows, labels))
    assert settled == [False]
    assert 100 < noted[0] < 100 + 2 * 64 * 32 * 32, "nobody adds to what is too much already"


@fused
@pytest.mark.gpu
def test_the_symmetric_walk_is_not_needed(monkeypatch, settled):
    from trainables.evaluation import ranks

    rows, labels = random_split(size=120, classes=15)
    expected = plainly(monkeypatch, rows, labels, tile=50)
    monkeypatch.setattr(ranks, "KEPT", 0)
    assert equal(by_triton(rows, labels, tile=50), expected)
    assert settled == [True] * 3


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("step", [7, 60, 1000])
def test_thresholds_by_gathering(monkeypatch, alone, step):
    from trainables.evaluation import search as module

    rows, labels = random_split(size=150, classes=25)
    others, other_labels = (None, None) if alone else random_split(size=90, classes=30, seed=3)
    named = [("query", labels, 150)] + ([] if alone else [("gallery", other_labels, 90)])
    codes, *rest = class_codes(named)
    gallery = None if others is None else unit_rows(others)
    search = Search.sort(unit_rows(rows), codes, gallery, rest[0] if rest else None)
    monkeypatch.setattr(module, "_GATHERED", 500)
    for part in slices(150, step):
        assert torch.equal(search.thresholds_by_gathering(part), search.thresholds(part))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_large_tiles_on_a_gpu(monkeypatch):
    rows, labels = random_split(size=9000, classes=2000, dim=64)
    rows[:500] = rows[4000:4500]
    found = by_triton(rows, labels)
    assert equal(found, plainly(monkeypatch, rows, labels))
    on_gpu = unit_rows(torch.from_numpy(rows).cuda())
    for one, other in zip(positive_ranks(on_gpu, labels, tile=700), plain_ranks(rows, labels), strict=True):
        assert np.array_equal(one.queries, other.queries)
        assert torch.equal(one.ranks.cpu(), other.ranks)
