"""How many scores of a tile reach each threshold: float32 where it is certain, float64 where it is not.

A tile is walked in one of two ways, with the same counts. Where few scores reach the lowest threshold of their row,
those are found and each looks up how many thresholds it reaches. Where many do, every threshold passes over the tile.
"""

import numpy as np
import torch
from torch import Tensor

# Few: this share of a tile for each threshold of a row, above which passes over the tile are cheaper.
FEW = 1 / 48
# Up to this many thresholds a row, a pass over the scores for each is cheaper than sorting them.
SORT_ABOVE = 64
# From here it pays to drop the scores below the row's lowest threshold first.
_SELECT_ABOVE = 8
# Float64 elements gathered at once for the pairs that are too near to call.
_GATHERED = 2**21


def counts_against(scores: Tensor, exact: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(a, P) int32: for each threshold, the columns whose exact score is at least as large.

    scores (a, c) float32 = rows (a, D) @ columns (c, D).T, contiguous or a turned tile that is, -inf for a column
    that does not count; exact (a, P) float64 thresholds, rising, padded with +inf. Rows and columns: `unit_rows`.
    """
    if not exact.shape[1]:
        return torch.zeros(exact.shape, dtype=torch.int32, device=exact.device)
    margin = rounding_bound(rows.shape[1])
    low = (exact - margin).float()
    turned = not scores.is_contiguous()
    places = _places(scores.T, low[None, :, 0]) if turned else _places(scores, low[:, :1])
    few = len(places) <= FEW * scores.numel() * min(exact.shape[1], SORT_ABOVE)
    counts = _count_few(scores, places, low, exact, rows, columns) if few else None
    return _count_many(scores, low, exact, rows, columns) if counts is None else counts


def rounding_bound(dim: int) -> float:
    """Bound on |float32 product - exact product| of two unit rows, for any order of summation.

    gamma_n = n u / (1 - n u), u = 2^-24: Higham, Accuracy and Stability of Numerical Algorithms,
    section 3.1. Four more u cover lengths a little above 1 and the rounding of a threshold to float32.
    """
    return (dim + 4) * 2.0**-24 * 1.01


def _places(scores: Tensor, low: Tensor) -> Tensor:
    """(n,) int32: the places in memory of the scores that are at least `low`; scores are contiguous."""
    if scores.device.type != "cpu":
        return (scores >= low).flatten().nonzero().flatten().int()
    # Several times faster than torch on one thread, both the comparison into bytes and the search.
    return torch.from_numpy(np.flatnonzero(scores.numpy() >= low.numpy())).int()


def _count_few(
    scores: Tensor, places: Tensor, low: Tensor, exact: Tensor, rows: Tensor, columns: Tensor
) -> Tensor | None:
    """The counts of what lies at `places`; None where too much of it is near a threshold."""
    turned = not scores.is_contiguous()
    lying = scores.T if turned else scores
    first = places.div(lying.shape[1], rounding_mode="floor")
    second = places - first * lying.shape[1]
    row, column = (second, first) if turned else (first, second)
    values = lying.reshape(-1).index_select(0, places)
    reached = _search(low, row, values)
    width = exact.shape[1]
    high = (exact + rounding_bound(rows.shape[1])).float().view(-1)
    # The thresholds rise: whoever is clear of the highest that it reaches is clear of all.
    near = (values < high.index_select(0, row * width + (reached - 1))).nonzero().flatten()
    if len(near) > scores.numel() // 64:
        return None
    for some in near.split(max(1, _GATHERED // max(rows.shape[1], width))):
        i = row[some]
        product = (rows[i].double() * columns[column[some]].double()).sum(1)
        reached[some] = (exact[i] <= product[:, None]).sum(1, dtype=torch.int32)
    found = torch.bincount(row * (width + 1) + reached, minlength=len(scores) * (width + 1))
    at_least = found.view(-1, width + 1).flip(1).cumsum(1).flip(1)
    return at_least[:, 1:].int()


def _search(low: Tensor, row: Tensor, values: Tensor) -> Tensor:
    """How many of the thresholds low[row] (n, P), rising, each value (n,) reaches: halving, all values at once."""
    steps = low.shape[1].bit_length()
    width = 2**steps - 1
    padded = torch.full((len(low), width), torch.inf, device=low.device)
    padded[:, : low.shape[1]] = low
    flat, at = padded.view(-1), row * width
    for step in (2**power for power in reversed(range(steps))):
        at.add_(flat[step - 1 :].index_select(0, at) <= values, alpha=step)
    return at.sub_(row, alpha=width)


def _count_many(scores: Tensor, low: Tensor, exact: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    active = (scores.amax(1) >= low[:, 0]).nonzero().flatten()
    if 2 * len(active) > len(scores):
        return _count(scores, low, exact, rows, columns)
    counts = torch.zeros(exact.shape, dtype=torch.int32, device=exact.device)
    counts[active] = _count(_take(scores, active), low[active], exact[active], rows[active], columns)
    return counts


def _count(scores: Tensor, low: Tensor, exact: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    high = (exact + rounding_bound(rows.shape[1])).float()
    reaching, counts = _at_least(_highest(scores, low), low, high)
    near = reaching - counts
    total = int(near.sum())
    if not total:
        return counts
    if total > min(_GATHERED // rows.shape[1], scores.numel() // 64):
        products = rows.double() @ columns.double().T
        return _at_least(products.masked_fill_(scores == -torch.inf, -torch.inf), exact)[0]
    row, place = near.nonzero(as_tuple=True)
    for i, p in zip(row.split(len(scores)), place.split(len(scores)), strict=True):
        some = _take(scores, i)
        pair, column = ((some >= low[i, p, None]) & (some < high[i, p, None])).nonzero(as_tuple=True)
        i, p = i[pair], p[pair]
        product = (rows[i].double() * columns[column].double()).sum(1)
        counts.index_put_((i, p), (product >= exact[i, p]).int(), accumulate=True)
    return counts


def _highest(scores: Tensor, low: Tensor) -> Tensor:
    """The scores that reach a row's lowest threshold, and some more; their order is lost."""
    if low.shape[1] <= _SELECT_ABOVE:
        return scores
    most = int((scores >= low[:, :1]).sum(1).max())
    return scores.topk(max(most, 1), dim=1, sorted=False).values if 4 * most <= scores.shape[1] else scores


def _at_least(scores: Tensor, *thresholds: Tensor) -> list[Tensor]:
    """(a, c), several (a, P) -> (a, P) int32 each: the row's scores >= the threshold."""
    if thresholds[0].shape[1] > SORT_ABOVE:
        rising = scores.sort(dim=1).values.contiguous()
        below = [torch.searchsorted(rising, bounds, out_int32=True) for bounds in thresholds]
        return [scores.shape[1] - count for count in below]
    counts = [torch.empty(bounds.shape, dtype=torch.int32, device=scores.device) for bounds in thresholds]
    # Comparing into floats is vectorised, and their sum is exact up to 2^24 columns.
    flags = torch.empty_like(scores)
    for bounds, count in zip(thresholds, counts, strict=True):
        # Neighbours in memory: only then are comparisons with a turned tile vectorised as well.
        for p, bound in enumerate(bounds.T.contiguous()):
            count[:, p] = torch.ge(scores, bound[:, None], out=flags).sum(1)
    return counts


def _take(scores: Tensor, rows: Tensor) -> Tensor:
    """scores[rows], but fast for a turned tile as well."""
    return scores.index_select(0, rows) if scores.is_contiguous() else scores.T.index_select(1, rows).T
