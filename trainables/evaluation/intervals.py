"""How sure a mean over queries is: bootstrap confidence intervals."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.errors import UserError

# Drawn queries, and float64 weights of them, held at once.
_DRAWN = 2**20


def bootstrap_intervals(
    values: Mapping[str, NDArray[np.float64]], rounds: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """{metric: (N,) by query, NaN where a query has none} -> {metric: (low, high)} of its mean over the queries.

    Percentiles of the means of `rounds` draws of the queries with replacement (Efron 1979, Bootstrap Methods), the same
    draws for every metric. Queries without any metric are not drawn; one that has only some counts for those.
    (NaN, NaN) for a metric that no query has. The same seed gives the same intervals. Memory: about 20 MiB for up to
    a million queries. Raises UserError for rounds < 1, confidence outside (0, 1) or metrics of different queries.
    """
    if isinstance(rounds, bool) or not isinstance(rounds, int | np.integer) or rounds < 1:
        raise UserError(f"rounds={rounds!r}: the number of draws must be a whole number from 1")
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence!r}: it must lie between 0 and 1, both apart")
    if not values:
        return {}
    shapes = {name: np.shape(value) for name, value in values.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise UserError(f"the metrics are not of the same queries: their shapes are {shapes}")
    table = np.stack([np.asarray(value, np.float64) for value in values.values()], axis=1)  # (N, M)
    table = table[~np.isnan(table).all(axis=1)]
    if not len(table):
        return dict.fromkeys(values, (np.nan, np.nan))
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    found = (_percentiles(means, tails) for means in drawn_means(table, rounds, seed).T)
    return dict(zip(values, found, strict=True))


def drawn_means(table: NDArray[np.float64], rounds: int, seed: int) -> NDArray[np.float64]:
    """(N, M) -> (rounds, M): the means of the N queries that each round drew, the same for every column.

    NaN where it drew no query that has the metric.
    """
    # Drawing is most of the cost: of numpy's generators this one is the fastest.
    count, random = len(table), np.random.Generator(np.random.SFC64(seed))
    known = ~np.isnan(table)
    summed = np.where(known, table, 0.0)
    partly = not known.all()
    if partly:
        summed = np.concatenate([summed, known], axis=1)
    together = max(1, _DRAWN // count)
    times = torch.empty((together, count), dtype=torch.float64)
    columns = torch.from_numpy(summed)
    sums = []
    for start in range(0, rounds, together):
        size = min(together, rounds - start)
        drawn = random.integers(count, size=(size, count), dtype=np.int32)
        for number, row in enumerate(drawn):
            times[number] = torch.bincount(torch.from_numpy(row), minlength=count)
        # by torch: numpy's library has threads of its own, which burn as much again in waiting
        sums.append(times[:size] @ columns)
    total = torch.cat(sums).numpy()
    if not partly:
        return total / count
    metrics = table.shape[1]
    having = total[:, metrics:]
    return np.where(having > 0, total[:, :metrics], np.nan) / np.maximum(having, 1)


def _percentiles(means: NDArray[np.float64], tails: tuple[float, float]) -> tuple[float, float]:
    means = means[~np.isnan(means)]
    if not len(means):
        return np.nan, np.nan
    low, high = np.quantile(means, tails)
    return float(low), float(high)
