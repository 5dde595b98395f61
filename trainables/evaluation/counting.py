"""How many scores of a tile reach each threshold: float32 where it is certain, float64 where it is not."""

import torch
from torch import Tensor

# Up to this many thresholds a row, a pass over the scores for each is cheaper than sorting them.
SORT_ABOVE = 64
# From here it pays to drop the scores below the row's lowest threshold first.
_SELECT_ABOVE = 8
# Float64 elements gathered at once for the pairs that are too near to call.
_GATHERED = 2**21


def counts_against(scores: Tensor, exact: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(a, P) int32: for each threshold, the columns whose exact score is at least as large.

    scores (a, c) float32 = rows (a, D) @ columns (c, D).T, or -inf for a column that does not count;
    exact (a, P) float64 thresholds, +inf for none. Rows and columns come from `unit_rows`.
    """
    counts = torch.zeros(exact.shape, dtype=torch.int32, device=exact.device)
    if not exact.shape[1]:
        return counts
    margin = rounding_bound(rows.shape[1])
    active = (scores.amax(1) >= exact.amin(1) - margin).nonzero().flatten()
    if 2 * len(active) > len(scores):
        return _count(scores, exact, rows, columns, margin)
    if len(active):
        counts[active] = _count(_take(scores, active), exact[active], rows[active], columns, margin)
    return counts


def rounding_bound(dim: int) -> float:
    """Bound on |float32 product - exact product| of two unit rows, for any order of summation.

    gamma_n = n u / (1 - n u), u = 2^-24: Higham, Accuracy and Stability of Numerical Algorithms,
    section 3.1. Four more u cover lengths a little above 1 and the rounding of a threshold to float32.
    """
    return (dim + 4) * 2.0**-24 * 1.01


def _count(scores: Tensor, exact: Tensor, rows: Tensor, columns: Tensor, margin: float) -> Tensor:
    low, high = (exact - margin).float(), (exact + margin).float()
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
    most = int((scores >= low.amin(1, keepdim=True)).sum(1).max())
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
