"""A tile counted by the kernel from 8-bit, 16-bit and float32 products: against comparisons one by one."""

import numpy as np
import pytest
import torch

from tests.trainables.evaluation.test_metrics import random_split
from trainables.evaluation import per_query_metrics, precision, tiles
from trainables.evaluation.counting import counts_against
from trainables.evaluation.embeddings import unit_rows
from trainables.evaluation.octets import octets_pay, octets_there, products
from trainables.evaluation.rotated import FINER, octets, rotated
from trainables.evaluation.rounded import rounded, steps_of
from trainables.evaluation.search import Search
from trainables.evaluation.tiles import FILTERS, count_compiled
from trainables.evaluation.words import products as word_products
from trainables.evaluation.words import words_pay, words_there

needs_octets = pytest.mark.skipif(not octets_there(), reason="this processor does not multiply bytes")
needs_words = pytest.mark.skipif(not words_there(), reason="this processor does not multiply pairs of 16 bits")
SIXTEEN = pytest.param(16, marks=needs_words)


def some_rows(count, dim, seed):
    random = np.random.default_rng(seed)
    return unit_rows(random.standard_normal((count, dim)).astype(np.float32) + 0.1)


def some_thresholds(exact, width, seed):
    """(n, width) rising: scores of the tile itself, so that many tie, one zero, and numbers between; padded."""
    random = np.random.default_rng(seed)
    found = np.full((len(exact), width), np.inf)
    for row, scores in zip(found, exact, strict=True):
        own = np.concatenate([random.choice(scores, width // 2), random.uniform(-1, 1, width // 4), [0.0]])
        row[: len(own)] = np.sort(own)
    return torch.from_numpy(found)


def one_by_one(exact, thresholds, counting):
    return np.array(
        [
            [sum(bool(counts) and score >= bound for score, counts in zip(*pair, strict=True)) for bound in bounds]
            for *pair, bounds in zip(exact, counting, thresholds.tolist(), strict=True)
        ]
    )


def leave_all_to_the_filters(monkeypatch):
    for share in ("NEAR", "FILTERED"):
        monkeypatch.setattr(tiles, share, 100.0)


def noted(monkeypatch, kind):
    """The calls of a filter's count, as they come."""
    calls, count = [], kind.count
    monkeypatch.setattr(kind, "count", lambda self, *part: calls.append(part) or count(self, *part))
    return calls


def search_of(rows, columns):
    """A search in which no class is on both sides."""
    return Search.sort(rows, np.arange(len(rows)), columns, np.arange(len(columns)) + len(rows))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 64), (33, 70), (64, 300), (20, 900)])
@pytest.mark.parametrize("dim", [3, 24, 100, 512])
@pytest.mark.parametrize("bits", [8, SIXTEEN, 32])
def test_counts_are_those_of_every_comparison(monkeypatch, bits, dim, height, width):
    rows, columns = some_rows(height, dim, 1), some_rows(width, dim, 2)
    columns[: min(height, width)] = rows[:width]  # every score of these is near another's
    columns[-1] = 0
    exact = (rows.double() @ columns.double().T).numpy()
    thresholds, turned = some_thresholds(exact, 8, 3), some_thresholds(exact.T, 12, 4)
    counting = np.ones(exact.shape, bool)
    first = np.random.default_rng(5).integers(width, size=height)
    for row, start in zip(counting, first, strict=True):
        row[start : start + 5] = False
    if bits == 32:
        scores = rows @ columns.T
        scores[~torch.from_numpy(counting)] = -torch.inf
        found = count_compiled(scores, rows, columns, thresholds, turned, 100.0)
    else:
        leave_all_to_the_filters(monkeypatch)
        ends = torch.from_numpy(np.stack([first, np.minimum(first + 5, width)], 1).astype(np.int32))
        monkeypatch.setattr(Search, "skipped", lambda self, rows, columns: ends)
        filtered = FILTERS[bits](search_of(rows, columns))
        found = filtered.count(slice(0, height), slice(0, width), thresholds, turned)
    np.testing.assert_array_equal(found[0].numpy(), one_by_one(exact, thresholds, counting))
    np.testing.assert_array_equal(found[1].numpy(), one_by_one(exact.T, turned, counting.T))


def some_embeddings(kind, count, dim, random):
    rows = random.standard_normal((count, dim)).astype(np.float32)
    if kind == "sparse":  # rows with few numbers, which repeat: many ties
        rows = np.round(rows) * (random.random(rows.shape) < 0.1)
    if kind == "one direction":  # as of a network that has not learned
        rows = 1 + 1e-2 * rows
    if kind == "falling":  # most of a row in few coordinates
        rows *= np.arange(1, dim + 1, dtype=np.float32) ** -1
    if kind == "tiny":
        rows *= np.float32(1e-30)
    rows[: count // 8] = rows[count // 8 : 2 * (count // 8)]
    rows[random.choice(count, 5)] = 0
    return rows.astype(np.float32)


def two_sides(kind, dim):
    """Unit rows (90, dim), (70, dim), some the same."""
    random = np.random.default_rng(1)
    rows, columns = (unit_rows(some_embeddings(kind, count, dim, random)) for count in (90, 70))
    columns[:9] = rows[:9]
    return rows, columns


@pytest.mark.parametrize("bits", [8, SIXTEEN])
@pytest.mark.parametrize("kind", ["dense", "sparse", "one direction", "falling", "tiny"])
@pytest.mark.parametrize(("dim", "gallery"), [(5, 0), (64, 700), (200, 0), (1100, 300)])
def test_metrics_are_those_of_the_plain_way(monkeypatch, bits, kind, dim, gallery):
    random = np.random.default_rng(dim)
    rows, labels = some_embeddings(kind, 500, dim, random), random.integers(60, size=500)
    split = rows, labels
    if gallery:
        others = some_embeddings(kind, gallery, dim, random)
        others[:40] = rows[:40]
        split = *split, others, random.integers(60, size=gallery)
    expected = per_query_metrics(*split, full_ranking=True, tile=100)
    monkeypatch.setattr(tiles, "FEW_TILES", 0)
    monkeypatch.setattr(tiles, "fast_bits", lambda shape: bits)
    leave_all_to_the_filters(monkeypatch)
    counted = noted(monkeypatch, FILTERS[bits])
    found = per_query_metrics(*split, full_ranking=True, tile=100)
    assert counted
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_what_is_too_near_to_call_is_left():
    rows = torch.ones(40, 16) / 4
    thresholds = torch.ones(40, 2, dtype=torch.float64)
    assert count_compiled(rows @ rows.T, rows, rows, thresholds, thresholds, 0.5) is None
    found = count_compiled(rows @ rows.T, rows, rows, thresholds, thresholds, 100.0)
    assert all((counts == 40).all() for counts in found)


def test_more_rows_than_a_byte_or_a_16_bit_number_counts():
    rows, columns = some_rows(40_000, 2, 1), some_rows(64, 2, 2)
    exact = torch.full((len(columns), 1), -2.0, dtype=torch.float64)
    found = count_compiled(rows @ columns.T, rows, columns, exact.new_empty((len(rows), 0)), exact, 1.0)
    assert (found[1] == 40_000).all()


@pytest.mark.parametrize(("height", "width", "depth"), [(1, 1, 1), (6, 64, 16), (13, 130, 3)])
def test_products_of_bytes_are_exact(height, width, depth):
    random = np.random.default_rng(0)
    rows, columns = (random.choice([-128, -127, 0, 1, 127], (size, 4 * depth)) for size in (height, width))
    fours = (part.astype(np.int8).view(np.int32) for part in (rows, columns))
    found = products(*fours, columns.sum(1).astype(np.int32))
    np.testing.assert_array_equal(found[:, :width], rows @ columns.T)


@pytest.mark.parametrize("dim", [1, 3, 64, 96, 512])
@pytest.mark.parametrize("kind", ["dense", "sparse", "falling", "one direction"])
def test_products_in_eight_bits_are_within_their_margins(kind, dim):
    rows, columns = two_sides(kind, dim)
    mine, theirs = octets(rows), octets(columns)
    first, second = (part.codes.view(torch.int8).double() * part.scale.double()[:, None] for part in (mine, theirs))
    assert torch.equal(mine.codes.view(torch.int8).sum(1), mine.sums)
    exact = rows.double() @ columns.double().T
    margin = mine.margin.double()[:, None] + theirs.margin.double()
    assert ((first @ second.T - exact).abs() <= margin).all()
    assert margin.max() < 0.03
    one, other = (part.rest.view(torch.int8).double() * part.scale.double()[:, None] / FINER for part in (mine, theirs))
    assert torch.equal(mine.rest.view(torch.int8).sum(1), mine.rest_sums)
    margin = mine.fine_margin.double()[:, None] + theirs.fine_margin.double()
    assert ((first @ second.T + one @ second.T + first @ other.T - exact).abs() <= margin).all()
    assert margin.max() < 5e-4


@pytest.mark.parametrize("dim", [1, 64, 65, 192, 512])
def test_a_rotation_changes_no_product(dim):
    rows = some_rows(30, dim, 1).double()
    turned = rotated(rows, dim + -dim % 64)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=1e-14)
    spike = rotated(torch.eye(dim)[:1], dim + -dim % 64)
    assert spike.abs().max() <= 1 / 8


@needs_words
@pytest.mark.parametrize(("height", "width", "depth"), [(1, 1, 1), (6, 16, 32), (13, 130, 3)])
def test_products_of_sixteen_bits_are_exact(height, width, depth):
    random = np.random.default_rng(0)
    rows, columns = (random.choice([-8000, -127, 0, 1, 8000], (size, 2 * depth)) for size in (height, width))
    found = word_products(*(part.astype(np.int16).view(np.int32) for part in (rows, columns)))
    np.testing.assert_array_equal(found[:height, :width], rows @ columns.T)


@pytest.mark.parametrize("dim", [1, 3, 64, 96, 512])
@pytest.mark.parametrize("kind", ["dense", "sparse", "falling", "one direction"])
def test_products_in_sixteen_bits_are_within_their_margins(kind, dim):
    rows, columns = two_sides(kind, dim)
    steps = steps_of(search_of(rows, columns))
    mine, theirs = rounded(rows, steps), rounded(columns, steps)
    product = mine.codes.view(torch.int16).double() @ theirs.codes.view(torch.int16).double().T
    assert product.abs().max() < 2**31
    margin = mine.margin[:, None] + theirs.margin
    assert ((product - steps**2 * (rows.double() @ columns.double().T)).abs() <= margin).all()
    assert margin.max() / steps**2 < 1e-3


@needs_octets
def test_eight_bits_are_taken_where_they_pay(monkeypatch):
    monkeypatch.setattr("trainables.evaluation.precision.much_faster", lambda way, peer: way() is not None)
    octets_pay.cache_clear()
    try:
        assert octets_pay((70, 65, 50))
        assert not octets_pay((70, 65, 2**15))
        monkeypatch.setattr("trainables.evaluation.octets.octets_there", lambda: False)
        assert not octets_pay((70, 65, 51))
    finally:
        octets_pay.cache_clear()


@needs_words
def test_sixteen_bits_are_taken_where_they_pay(monkeypatch):
    monkeypatch.setattr("trainables.evaluation.octets.octets_there", lambda: False)
    monkeypatch.setattr("trainables.evaluation.precision.much_faster", lambda way, peer: way() is not None)
    octets_pay.cache_clear()
    words_pay.cache_clear()
    try:
        assert tiles.fast_bits((70, 65, 50)) == 16
        assert tiles.fast_bits((70, 65, 2**15)) == 0
        monkeypatch.setattr("trainables.evaluation.words.words_there", lambda: False)
        assert tiles.fast_bits((70, 65, 51)) == 0
    finally:
        octets_pay.cache_clear()
        words_pay.cache_clear()


def test_products_are_compared_on_one_thread(monkeypatch):
    """A tile has one; float32 on all of them would win everywhere."""
    seen = []
    monkeypatch.setattr(precision, "much_faster", lambda way, peer: seen.append(torch.get_num_threads()) is None)
    rows, before = np.ones((3, 4), np.int8), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert precision.integers_pay(rows, rows, lambda: np.full((3, 3), 4, np.int32))
        assert not precision.integers_pay(rows, rows, lambda: np.full((3, 3), 5, np.int32))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_faster_is_clearly_faster():
    slow = [[n * 0.5 for n in range(2000)] for _ in range(200)]
    assert precision.much_faster(lambda: None, lambda: [sum(part) for part in slow])
    assert not precision.much_faster(lambda: [sum(part) for part in slow], lambda: None)


@pytest.mark.parametrize("bits", [8, SIXTEEN])
def test_few_bits_are_given_up_where_they_leave_most_open(monkeypatch, bits):
    """Rows as of an untrained network, all alike: float32 does the rest, with the same numbers."""
    rows, labels = random_split(size=600, classes=60, dim=16)
    rows = np.float32(1) + np.float32(1e-3) * rows
    expected = per_query_metrics(rows, labels, tile=64)
    monkeypatch.setattr(tiles, "FEW_TILES", 0)
    monkeypatch.setattr(tiles, "fast_bits", lambda shape: bits)
    tried = noted(monkeypatch, FILTERS[bits])
    found = per_query_metrics(rows, labels, tile=64)
    assert 0 < len(tried) < 10
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_without_numba_the_rest_counts(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "trainables.evaluation.kernel", None)
    monkeypatch.delattr("trainables.evaluation.kernel", raising=False)
    assert not tiles.kernel_there.__wrapped__()


def test_float32_counts_agree_with_torch():
    rows, columns = some_rows(100, 32, 1), some_rows(130, 32, 2)
    exact = some_thresholds((rows.double() @ columns.double().T).numpy(), 40, 3)
    found = count_compiled(rows @ columns.T, rows, columns, exact, exact.new_empty((130, 0)), 100.0)
    assert torch.equal(found[0], counts_against(rows @ columns.T, exact, rows, columns))
