"""Soft Dice loss over the labelled pixels of a batch.

Source: Milletari, Navab & Ahmadi, "V-Net" (3DV 2016, arXiv:1606.04797), with p + y in the denominator in place of their
squares, and the mean over classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from landcover_cli.learn.objective import Batch
from landcover_cli.learn.objectives import cross_entropy
from landcover_cli.learn.objectives._losses import labelled_cross_entropy, overlap_counts


class Objective(cross_entropy.Objective):
    """Mean over classes of 1 − 2 Σ p·y / (Σ p + Σ y).

    Options: ``skip_absent`` leaves out classes that have no label in the batch (else they pull p to 0);
    ``cross_entropy`` adds so much of that loss, with its class weights and smoothing.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {"skip_absent": True, "cross_entropy": 0.0}
    SUM: ClassVar[bool] = False
    """Whether classes are added up; else their mean is taken."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Loss of logits ``[B, K, H, W]``."""
        both, chance, truth = overlap_counts(logits, batch.target, batch.weight)
        each = 1 - self.overlap(both, chance, truth)
        counted = truth > 0
        if not self.options["skip_absent"]:
            counted = counted | True
        total = (each * counted).sum()
        if not self.SUM:
            total = total / counted.sum().clamp_min(1)
        share = float(self.options["cross_entropy"])
        if share:
            total = total + share * labelled_cross_entropy(
                logits, batch.target, by_class=self.weight, by_pixel=batch.weight, smoothing=self.smoothing
            )
        return total

    def overlap(self, both: Tensor, chance: Tensor, truth: Tensor) -> Tensor:
        """Overlap per class from Σ p·y, Σ p and Σ y."""
        return 2 * both / (chance + truth).clamp_min(1e-7)
