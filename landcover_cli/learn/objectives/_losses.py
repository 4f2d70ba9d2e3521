"""Losses of labelled pixels that several objectives share. All in float32, also under mixed precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softmax

from landcover_cli.learn.objective import IGNORE

__all__ = ["class_weights", "labelled_cross_entropy", "overlap_counts"]


def class_weights(class_px: Sequence[int], how: str, device: str) -> Tensor | None:
    """Weight per class: 1 / pixels (``inverse``) or 1 / sqrt(pixels) (``sqrt``); mean one over classes with labels.

    None for ``none``.
    """
    if how == "none":
        return None
    count = torch.tensor(class_px, dtype=torch.float64)
    weight = torch.where(count > 0, count.clamp_min(1) ** -(1.0 if how == "inverse" else 0.5), torch.zeros_like(count))
    return (weight * (count > 0).sum() / weight.sum()).float().to(device)


def labelled_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    by_class: Tensor | None = None,
    by_pixel: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Tensor:
    """Weighted mean of (1 − p)^gamma · cross-entropy over the labelled pixels; p is the label's probability.

    Args:
        logits: ``[B, K, H, W]`` float32.
        target: ``[B, H, W]``; `IGNORE` where there is no label. At least one label.
        by_class: ``[K]``, or None.
        by_pixel: ``[B, H, W]``, or None.
        smoothing: Label smoothing.
        gamma: 0 is plain cross-entropy.
    """
    if by_pixel is None and gamma == 0:
        return cross_entropy(logits, target, weight=by_class, ignore_index=IGNORE, label_smoothing=smoothing)
    each = cross_entropy(
        logits, target, weight=by_class, ignore_index=IGNORE, label_smoothing=smoothing, reduction="none"
    )
    labelled = target != IGNORE
    index = target.clamp_min(0)
    weight = labelled.to(each.dtype)
    if gamma:
        chance = softmax(logits, 1).gather(1, index.unsqueeze(1)).squeeze(1)
        each = each * (1 - chance).clamp_min(0) ** gamma
    if by_pixel is not None:
        each, weight = each * by_pixel, weight * by_pixel
    if by_class is not None:
        weight = weight * by_class[index]
    # A weight of nil everywhere is a batch without a label.
    return (each * labelled).sum() / weight.sum().clamp_min(1e-12)


def overlap_counts(logits: Tensor, target: Tensor, by_pixel: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Soft counts per class over the labelled pixels of a batch: (Σ p·y, Σ p, Σ y), ``[K]`` each."""
    weight = (target != IGNORE).to(logits.dtype)
    if by_pixel is not None:
        weight = weight * by_pixel
    chance = softmax(logits.float(), 1) * weight.unsqueeze(1)
    truth = torch.zeros_like(chance).scatter_(1, target.clamp_min(0).unsqueeze(1), weight.unsqueeze(1))
    # p·w·y = p·w at the label, because y is 0 or 1.
    hit = chance.gather(1, target.clamp_min(0).unsqueeze(1)).squeeze(1)
    both = torch.zeros_like(chance).scatter_(1, target.clamp_min(0).unsqueeze(1), hit.unsqueeze(1))
    return both.sum((0, 2, 3)), chance.sum((0, 2, 3)), truth.sum((0, 2, 3))
