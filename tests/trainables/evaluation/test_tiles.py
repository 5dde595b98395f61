"""A tile counted by the kernel from bfloat16, fixed point and float32: against comparisons one by one."""

import numpy as np
import pytest
import torch

from tests.trainables.evaluation.test_metrics import random_split
from trainables.evaluation import coarse, per_query_metrics, tiles
from trainables.evaluation.coarse import Coarse
from trainables.evaluation.counting import counts_against, rounding_bound
from trainables.evaluation.embeddings import unit_rows
from trainables.evaluation.fixed import STEP, Fixed
from trainables.evaluation.tiles import count_compiled


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


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 64), (33, 70), (64, 300)])
@pytest.mark.parametrize("way", ["bfloat16", "float32", "fixed"])
def test_counts_are_those_of_every_comparison(way, height, width):
    rows, columns = some_rows(height, 24, 1), some_rows(width, 24, 2)
    columns[: min(height, width)] = rows[:width]
    columns[-1] = 0
    exact = (rows.double() @ columns.double().T).numpy()
    thresholds, turned = some_thresholds(exact, 8, 3), some_thresholds(exact.T, 12, 4)
    counting = np.random.default_rng(5).random(exact.shape) < 0.9
    product = Coarse(rows, columns)
    margins = product.margins(slice(None), slice(None))
    scores = product.scores(slice(None), slice(None))
    if way == "float32":
        scores = rows @ columns.T
        margins = [torch.full((len(part),), rounding_bound(24), dtype=torch.float64) for part in (rows, columns)]
    scores[~torch.from_numpy(counting)] = -torch.inf
    fixed = [Fixed(rows, columns).part(slice(None), slice(None))] if way == "fixed" else []
    found = count_compiled(scores, rows, columns, thresholds, turned, *margins, 100.0, *fixed)
    np.testing.assert_array_equal(found[0].numpy(), one_by_one(exact, thresholds, counting))
    np.testing.assert_array_equal(found[1].numpy(), one_by_one(exact.T, turned, counting.T))


def test_what_is_too_near_to_call_is_left():
    rows = torch.ones(40, 16) / 4
    product = Coarse(rows, rows)
    scores, margins = product.scores(slice(None), slice(None)), product.margins(slice(None), slice(None))
    thresholds = torch.ones(40, 2, dtype=torch.float64)
    assert count_compiled(scores.clone(), rows, rows, thresholds, thresholds, *margins, 0.5) is None
    found = count_compiled(scores, rows, rows, thresholds, thresholds, *margins, 100.0)
    assert all((counts == 40).all() for counts in found)


def test_more_rows_than_a_byte_or_a_16_bit_number_counts():
    rows, columns = some_rows(40_000, 2, 1), some_rows(64, 2, 2)
    exact = torch.full((len(columns), 1), -2.0, dtype=torch.float64)
    product = Coarse(rows, columns)
    scores, margins = product.scores(slice(None), slice(None)), product.margins(slice(None), slice(None))
    found = count_compiled(scores, rows, columns, exact.new_empty((len(rows), 0)), exact, *margins, 1.0)
    assert (found[1] == 40_000).all()


@pytest.mark.parametrize("dim", [3, 64, 512])
def test_bfloat16_products_are_within_their_margins(dim):
    rows, columns = some_rows(90, dim, 1), some_rows(70, dim, 2)
    columns[:9] = rows[:9]
    product = Coarse(rows, columns)
    exact = rows.double() @ columns.double().T
    unrounded = rows.bfloat16().double() @ columns.bfloat16().double().T
    mine, theirs = product.margins(slice(None), slice(None))
    assert ((unrounded - exact).abs() <= mine[:, None]).all()
    assert ((unrounded - exact).abs() <= theirs).all()
    assert (mine < 2.0**-6).all()
    scores = product.scores(slice(None), slice(None))
    assert (scores >= (exact - mine[:, None]).bfloat16()).all()
    assert (scores <= (exact + mine[:, None]).bfloat16()).all()


@pytest.mark.parametrize("dim", [1, 3, 512])
def test_fixed_point_products_are_within_their_error(dim):
    rows, columns = some_rows(90, dim, 1), some_rows(70, dim, 2)
    columns[0] = 0
    columns[1] = rows[0] = -torch.eye(dim)[0]
    first, second, error = Fixed(rows, columns).part(slice(None), slice(2, None))
    assert first.dtype == second.dtype == torch.int16
    products = first.double() @ second.double().T
    assert products.abs().max() < 2**31
    assert ((products * STEP**2 - rows.double() @ columns[2:].double().T).abs() <= error).all()
    assert error < 2.5 * STEP * max(1, dim**0.5)


def test_rounding_twice_is_seen(monkeypatch):
    assert coarse.coarse_is_faithful((64, 64, 48))
    monkeypatch.setattr(coarse, "rounding_bound", lambda dim: -(2.0**-7))
    assert not coarse.coarse_is_faithful.__wrapped__((64, 64, 48))


def test_bfloat16_is_given_up_where_it_leaves_most_open(monkeypatch):
    """Rows as of an untrained network, all alike: float32 does the rest, with the same numbers."""
    rows, labels = random_split(size=600, classes=60, dim=16)
    rows = np.float32(1) + np.float32(1e-3) * rows
    expected = per_query_metrics(rows, labels, tile=64)
    monkeypatch.setattr(tiles, "FEW_TILES", 0)
    monkeypatch.setattr(tiles, "bfloat16_serves", lambda shapes: True)
    tried = []
    scores = Coarse.scores
    monkeypatch.setattr(Coarse, "scores", lambda self, *part: tried.append(part) or scores(self, *part))
    found = per_query_metrics(rows, labels, tile=64)
    assert len(tried) < 10
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_without_numba_the_rest_counts(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "trainables.evaluation.kernel", None)
    monkeypatch.delattr("trainables.evaluation.kernel", raising=False)
    assert not tiles.kernel_there.__wrapped__()


def test_float32_counts_agree_with_torch():
    rows, columns = some_rows(100, 32, 1), some_rows(130, 32, 2)
    exact = some_thresholds((rows.double() @ columns.double().T).numpy(), 40, 3)
    margins = [torch.full((len(part),), rounding_bound(32), dtype=torch.float64) for part in (rows, columns)]
    empty = exact.new_empty((130, 0))
    found = count_compiled(rows @ columns.T, rows, columns, exact, empty, *margins, 100.0)
    assert torch.equal(found[0], counts_against(rows @ columns.T, exact, rows, columns))
