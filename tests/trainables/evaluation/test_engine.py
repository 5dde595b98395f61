"""Which engine is taken: GPUs as faiss has them, products as the machine multiplies, threads."""

import threading

import faiss
import numpy as np
import pytest
import torch

from tests.trainables.evaluation.test_metrics import random_split
from trainables.evaluation import (
    chosen_engine,
    counting,
    engine,
    nearest_neighbours,
    per_query_metrics,
    precision,
    tiles,
)
from trainables.evaluation.threads import for_each


@pytest.fixture
def gpus(monkeypatch):
    """Sets how many GPUs faiss seems to have; what is sent to them is written down and stays on the CPU."""
    sent = []

    def to_one(resources, device, index):
        sent.append((device, index.ntotal))
        return index

    def to_all(index, co):
        sent.append(("all", index.ntotal, co.shard))
        return index

    class Options:
        shard = False

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", Options, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", to_one, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", to_all, raising=False)
    monkeypatch.setattr(engine, "GPU_PAIRS", 0)

    def have(count):
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: count, raising=False)
        return sent

    return have


@pytest.mark.parametrize(
    ("count", "k", "shard_bytes", "expected", "words"),
    [
        (0, 5, 0, [], "faiss flat, CPU"),
        (1, 5, 2**32, [(0, 60)], "faiss flat, one GPU"),
        (4, 5, 2**32, [(0, 60)], "faiss flat, one GPU"),
        (4, 5, 0, [("all", 60, True)], "faiss flat, gallery split over 4 GPUs"),
        (1, 5, 0, [(0, 60)], "faiss flat, one GPU"),
    ],
)
def test_neighbours_are_searched_where_the_engine_says(gpus, monkeypatch, count, k, shard_bytes, expected, words):
    rows, _ = random_split(size=60)
    plain = nearest_neighbours(rows, k=k)
    sent = gpus(count)
    monkeypatch.setattr(engine, "SHARD_BYTES", shard_bytes)
    found = nearest_neighbours(rows, k=k)
    assert sent == expected
    assert chosen_engine(60, 60, 12, k) == words
    for ours, theirs in zip(found, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_more_neighbours_than_a_gpu_sorts_are_searched_on_the_cpu(gpus):
    sent = gpus(2)
    rows, _ = random_split(size=2200, dim=4)
    assert nearest_neighbours(rows, k=2048)[1].shape == (2200, 2048)
    assert sent == []
    nearest_neighbours(rows, k=2047)
    assert sent == [(0, 2200)]


def test_small_searches_stay_on_the_cpu(gpus, monkeypatch):
    sent = gpus(1)
    monkeypatch.setattr(engine, "GPU_PAIRS", 10**6)
    nearest_neighbours(random_split(size=50)[0], k=3)
    assert sent == []


def test_a_faiss_without_gpu_support_searches_on_the_cpu(monkeypatch):
    monkeypatch.delattr(faiss, "get_num_gpus", raising=False)
    assert chosen_engine(10**6, 10**6, 512, 10) == "faiss flat, CPU"


@pytest.mark.parametrize("name", ["medium", "highest"])
def test_metrics_are_told_with_their_products(monkeypatch, name):
    monkeypatch.setattr(precision, "medium_is_float32", lambda *shape: name == "medium")
    told = chosen_engine(5000, 5000, 64)
    assert told.startswith("counting on cpu, tiles of 768")
    assert repr(name) in told


def test_metrics_are_told_with_their_kernel(monkeypatch):
    monkeypatch.setattr(tiles, "kernel_there", lambda: True)
    for bits, said in ((8, "products in 8 bits, near ones again in 16, then"), (16, "products in 16 bits, near ones")):
        monkeypatch.setattr(tiles, "fast_bits", lambda shape, bits=bits: bits)
        told = chosen_engine(60_000, 60_000, 64)
        assert told.startswith(f"counting on cpu by the compiled kernel, tiles of 768, {said}")
    monkeypatch.setattr(tiles, "fast_bits", lambda shape: 0)
    assert chosen_engine(3_000, 60_000, 64).startswith(
        "counting on cpu by the compiled kernel, tiles of 768, products at"
    )
    monkeypatch.setattr(tiles, "kernel_there", lambda: False)
    assert chosen_engine(60_000, 60_000, 64).startswith("counting on cpu, tiles of 768, products at")


def products_as(monkeypatch, less):
    """What torch multiplies at "medium" on another machine: factors that have gone through `less` first."""
    product = torch.Tensor.__matmul__

    def matmul(left, right):
        if left.dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium":
            return product(less(left), less(right))
        return product(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", matmul)
    precision.medium_is_float32.cache_clear()


def bits(count):
    """Rounds to so many bits of a mantissa: bfloat16 8, TensorFloat-32 11, two bfloat16 16."""

    def rounded(part):
        mantissa, exponent = torch.frexp(part.double())
        return torch.ldexp((mantissa * 2.0**count).round() / 2.0**count, exponent).float()

    return rounded


@pytest.mark.parametrize("count", [8, 11, 16, 22])
@pytest.mark.parametrize("dim", [3, 64, 2048])
def test_less_than_float32_is_noticed(monkeypatch, count, dim):
    products_as(monkeypatch, bits(count))
    try:
        assert not precision.medium_is_float32(70, 50, dim)
        assert precision.product_precision(torch.device("cpu"), [(70, 50, dim)]) == "highest"
    finally:
        precision.medium_is_float32.cache_clear()


@pytest.mark.parametrize("dim", [1, 3, 64, 512, 2048])
@pytest.mark.parametrize("shape", [(1, 1), (768, 768), (5, 700)])
def test_float32_passes(monkeypatch, shape, dim):
    products_as(monkeypatch, bits(24))
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda name: None)
    assert precision.medium_is_float32(*shape, dim)
    precision.medium_is_float32.cache_clear()


@pytest.mark.parametrize("faithful", [False, True])
def test_metrics_do_not_depend_on_the_product(monkeypatch, faithful):
    rows, labels = random_split(size=500, classes=70, dim=96)
    rows[:60] = rows[60:120]
    expected = per_query_metrics(rows, labels, full_ranking=True, tile=128)
    monkeypatch.setattr(precision, "medium_is_float32", lambda *shape: faithful)
    for name, values in per_query_metrics(rows, labels, full_ranking=True, tile=128).items():
        np.testing.assert_array_equal(values, expected[name])


def test_the_worst_error_that_the_bound_allows_changes_no_metric(monkeypatch):
    rows, labels = random_split(size=400, classes=60, dim=24)
    rows[:60] = rows[60:120]
    expected = per_query_metrics(rows, labels, full_ranking=True, tile=100)
    product, generator = torch.Tensor.__matmul__, torch.Generator().manual_seed(0)

    def noisy(left, right):
        found = product(left, right)
        if left.dtype != torch.float32:
            return found
        sign = torch.randint(0, 2, found.shape, generator=generator) * 2 - 1
        return found + 0.9 * counting.rounding_bound(24) * sign

    monkeypatch.setattr(torch.Tensor, "__matmul__", noisy)
    for few in (0, counting.FEW, 1):
        monkeypatch.setattr(counting, "FEW", few)
        for name, values in per_query_metrics(rows, labels, full_ranking=True, tile=100).items():
            np.testing.assert_array_equal(values, expected[name])


def test_threads_do_not_matter_and_their_number_returns():
    rows, labels = random_split(size=700, classes=90, dim=20)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(per_query_metrics(rows, labels, full_ranking=True, tile=64))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        for name, values in others.items():
            np.testing.assert_array_equal(values, found[0][name])


def test_an_exception_of_a_thread_is_raised():
    before = torch.get_num_threads()
    seen = set()

    def work(task):
        seen.add(threading.get_ident())
        if task == 3:
            raise MemoryError(task)

    torch.set_num_threads(2)
    try:
        with pytest.raises(MemoryError):
            for_each(work, range(50), torch.device("cpu"))
        assert torch.get_num_threads() == 2
        assert threading.get_ident() not in seen
    finally:
        torch.set_num_threads(before)
