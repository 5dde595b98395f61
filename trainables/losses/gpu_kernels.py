"""What the losses launch on a GPU, in Triton. Plain forms with the same numbers: `average_precision`, `contrast`.

A program has one query, or one positive of one query, and goes through the references a block at a time, in their
order: the same sums every time. Which references are positives is read off the labels.
"""

import triton
import triton.language as tl


@triton.jit
def sigma(argument, clamp):
    """The sigmoid, exactly 0 below the clamp."""
    return tl.where(argument > -clamp, tl.sigmoid(argument), 0.0)


@triton.jit
def step(difference, soft, tau, rho, delta, offset, start, is_sigmoid: tl.constexpr):
    """`average_precision.Step` at differences, and its slope there. soft: their sigma."""
    value, slope = soft, (soft - soft * soft) / tau
    if not is_sigmoid:
        linear = difference > delta
        value = tl.where(linear, rho * (difference - delta) + offset, soft + tl.where(difference > 0, start, 0.0))
        slope = tl.where(linear, rho, slope)
    return value, slope


@triton.jit(do_not_specialize=["most"])
def rank(
    scores, labels, ref_labels, listed, first, counts, columns, found, width, most, tau, rho, delta, offset, start,
    clamp, is_sigmoid: tl.constexpr, smooth: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Program i * most + p: how the references rank against query i's p-th positive."""
    query, p = tl.program_id(0).to(tl.int64) // most, tl.program_id(0) % most
    number = tl.load(counts + query)
    if p < number:
        column, label = tl.load(listed + tl.load(first + query) + p), tl.load(labels + query)
        own = tl.load(scores + query * width + column)
        above, slope = tl.zeros([block], tl.float32), tl.zeros([block], tl.float32)
        beside, push = tl.zeros([block], tl.float32), tl.zeros([block], tl.float32)
        for begin in range(0, width, block):
            at = begin + tl.arange(0, block)
            there = at < width
            difference = tl.load(scores + query * width + at, there, 0.0) - own
            positive = there & (tl.load(ref_labels + at, there, 0) == label)
            soft = sigma(difference / tau, clamp)
            value, rise = step(difference, soft, tau, rho, delta, offset, start, is_sigmoid)
            above += tl.where(there & ~positive, value, 0.0)
            slope += tl.where(there & ~positive, rise, 0.0)
            if smooth:
                other = positive & (at != column)
                beside += tl.where(other, soft, 0.0)
                push += tl.where(other, soft - soft * soft, 0.0)
            else:
                beside += tl.where(positive & (difference >= 0), 1.0, 0.0)
        negatives, positives = tl.sum(above), tl.sum(beside)
        if smooth:
            positives += 1.0
        rank = positives + negatives
        weight = positives / (rank * rank) / number
        pushed = negatives / (rank * rank) / number / tau
        place = query * most + p
        tl.store(columns + place, column)
        tl.store(found + place * 5, own)
        tl.store(found + place * 5 + 1, positives / rank / number)
        tl.store(found + place * 5 + 2, weight)
        tl.store(found + place * 5 + 3, pushed)
        tl.store(found + place * 5 + 4, weight * tl.sum(slope) - pushed * tl.sum(push))


@triton.jit(do_not_specialize=["most"])
def rank_gradient(
    scores, labels, ref_labels, counts, columns, found, gradient, factor, width, most, tau, rho, delta, offset, start,
    clamp, is_sigmoid: tl.constexpr, smooth: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Program (i, b): the gradient of query i's AP on the references of block b, times `factor`."""
    query = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * block + tl.arange(0, block)
    there = at < width
    score = tl.load(scores + query * width + at, there, 0.0)
    positive = there & (tl.load(ref_labels + at, there, 0) == tl.load(labels + query))
    total = tl.zeros([block], tl.float32)
    for p in range(tl.load(counts + query)):
        place = query * most + p
        column, difference = tl.load(columns + place), score - tl.load(found + place * 5)
        weight, pushed = tl.load(found + place * 5 + 2), tl.load(found + place * 5 + 3)
        soft = sigma(difference / tau, clamp)
        _, rise = step(difference, soft, tau, rho, delta, offset, start, is_sigmoid)
        on_positives = pushed * (soft - soft * soft) if smooth else tl.zeros([block], tl.float32)
        on_positives = tl.where(at == column, tl.load(found + place * 5 + 4), on_positives)
        total += tl.where(positive, on_positives, -weight * rise)
    tl.store(gradient + query * width + at, factor * total, there)


@triton.jit
def violated(score, same, near_bound, far_bound):
    """1 or 0: positives below their bound, negatives above theirs."""
    return tl.where(same & (score < near_bound), 1.0, 0.0), tl.where(~same & (score > far_bound), 1.0, 0.0)


@triton.jit
def violations(
    scores, labels, ref_labels, found, width, near_bound, far_bound, within_batch: tl.constexpr, block: tl.constexpr
):
    """Program i: query i's positives that are too far, how far in all, and the same of its negatives."""
    query, label = tl.program_id(0).to(tl.int64), tl.load(labels + tl.program_id(0))
    near_count, missing = tl.zeros([block], tl.float32), tl.zeros([block], tl.float32)
    far_count, excess = tl.zeros([block], tl.float32), tl.zeros([block], tl.float32)
    for begin in range(0, width, block):
        at = begin + tl.arange(0, block)
        there = at < width
        score = tl.load(scores + query * width + at, there, 0.0)
        near, far = violated(score, tl.load(ref_labels + at, there, 0) == label, near_bound, far_bound)
        counted = there & (at != query) if within_batch else there
        near, far = tl.where(counted, near, 0.0), tl.where(there, far, 0.0)
        near_count += near
        missing += near * (near_bound - score)
        far_count += far
        excess += far * (score - far_bound)
    tl.store(found + query * 4, tl.sum(near_count))
    tl.store(found + query * 4 + 1, tl.sum(missing))
    tl.store(found + query * 4 + 2, tl.sum(far_count))
    tl.store(found + query * 4 + 3, tl.sum(excess))


@triton.jit
def violation_gradient(
    scores, labels, ref_labels, weights, gradient, width, near_bound, far_bound, within_batch: tl.constexpr,
    block: tl.constexpr,
):  # fmt: skip
    """Program (i, b): the gradient on query i's references of block b. weights: of a positive, of a negative."""
    query = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * block + tl.arange(0, block)
    there = at < width
    score = tl.load(scores + query * width + at, there, 0.0)
    same = tl.load(ref_labels + at, there, 0) == tl.load(labels + query)
    near, far = violated(score, same, near_bound, far_bound)
    if within_batch:
        near = tl.where(at == query, 0.0, near)
    total = far * tl.load(weights + 1) - near * tl.load(weights)
    tl.store(gradient + query * width + at, total, there)
