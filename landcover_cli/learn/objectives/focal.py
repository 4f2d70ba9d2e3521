"""Focal loss: cross-entropy that counts a pixel the less, the surer the network is of its label.

Source: Lin, Goyal, Girshick, He & Dollár, "Focal Loss for Dense Object Detection" (ICCV 2017, arXiv:1708.02002), eq. 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from landcover_cli.learn.objective import Batch
from landcover_cli.learn.objectives import cross_entropy
from landcover_cli.learn.objectives._losses import labelled_cross_entropy


class Objective(cross_entropy.Objective):
    """(1 − p)^gamma times the cross-entropy; label smoothing and class weights as there. ``gamma: 0`` is just that."""

    OPTIONS: ClassVar[Mapping[str, Any]] = {"gamma": 2.0}

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Loss of logits ``[B, K, H, W]``."""
        return labelled_cross_entropy(
            logits,
            batch.target,
            by_class=self.weight,
            by_pixel=batch.weight,
            smoothing=self.smoothing,
            gamma=float(self.options["gamma"]),
        )
