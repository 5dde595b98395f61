"""From embeddings to a loss of their similarities, its gradient found on the way forward.

A formula knows its own gradient: it maps the scores (Q, M) of Q queries against M references to (value, gradient
on the scores). So only the gradient on the embeddings is kept for the backward pass, nothing of size Q x M.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.losses import compiled
from trainables.losses.pairs import Formula, Pairs, Slope


class _ScoreLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, references: Tensor | None, formula: Formula, pairs: Pairs, wanted: bool
    ) -> Tensor:
        others = embeddings if references is None else references
        value, slope = formula(embeddings @ others.T, pairs, wanted)
        if slope is not None:
            ctx.save_for_backward(*_on_embeddings(slope, embeddings, references, ctx.needs_input_grad))
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # torch's own once_differentiable says nothing here: a penalty on the gradient would silently be a constant
        if torch.is_grad_enabled():
            raise RuntimeError("this loss is differentiable once: create_graph=True is not supported")
        scaled = (None if kept is None else grad_outputs[0] * kept for kept in ctx.saved_tensors)
        return (*scaled, None, None, None)


def _on_embeddings(
    slope: Slope, embeddings: Tensor, references: Tensor | None, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    gradient, length, ref_length = slope
    if references is None:  # s_ij and s_ji are one number: one product instead of two
        both = None if length is None or ref_length is None else length + ref_length
        return _without(compiled.with_transpose(gradient) @ embeddings, both, embeddings), None
    return (
        _without(gradient @ references, length, embeddings) if needed[0] else None,
        _without(gradient.T @ embeddings, ref_length, references) if needed[1] else None,
    )


def _without(gradient: Tensor, length: Tensor | None, embeddings: Tensor) -> Tensor:
    return gradient if length is None else gradient.addcmul_(length[:, None], embeddings, value=-1)


def score_loss(
    formula: Formula, embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None, ref_labels: Tensor | None
) -> Tensor:
    """The formula's value on the cosine similarities, differentiable once in embeddings and ref_emb.

    embeddings (B, D) and ref_emb (M, D) are L2-normalised; labels (B,), ref_labels (M,). Without ref_emb the batch
    is its own reference; any ref_emb, also one of B rows, is a memory. Half precision is computed in float32.
    TypeError: ref_emb without ref_labels or the reverse, embeddings not floating point, shapes that differ.
    """
    if (ref_emb is None) != (ref_labels is None):
        raise TypeError("ref_emb and ref_labels are given together or not at all")
    _check_shapes("embeddings", embeddings, "labels", labels)
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    device = embeddings.device
    labels = labels.to(device)
    pairs = Pairs(labels, labels, within_batch=True)
    if ref_emb is not None and ref_labels is not None:
        _check_shapes("ref_emb", ref_emb, "ref_labels", ref_labels)
        if ref_emb.shape[1] != embeddings.shape[1]:
            raise TypeError(f"ref_emb has {ref_emb.shape[1]} dimensions, embeddings {embeddings.shape[1]}")
        pairs = Pairs(labels, ref_labels.to(device), within_batch=False)
        dtype = torch.promote_types(dtype, ref_emb.dtype)
        ref_emb = ref_emb.to(device=device, dtype=dtype)
    inputs = embeddings.to(dtype), ref_emb
    wanted = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    with torch.autocast(device.type, enabled=False):
        loss: Tensor = _ScoreLoss.apply(*inputs, formula, pairs, wanted)
    return loss


def _check_shapes(name: str, embeddings: Tensor, labels_name: str, labels: Tensor) -> None:
    if not embeddings.is_floating_point() or embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise TypeError(
            f"{name} must be floating point (N, D) with {labels_name} (N,), not {embeddings.dtype} "
            f"{tuple(embeddings.shape)} with {tuple(labels.shape)}"
        )
