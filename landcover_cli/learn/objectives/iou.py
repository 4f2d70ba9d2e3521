"""Soft IoU loss over the labelled pixels of a batch: the sum over classes of 1 − I / (U + ε).

Source: Rahman & Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation" (ISVC 2016);
I = Σ p·y, U = Σ (p + y − p·y), ε = 1e-7, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from landcover_cli.learn.objectives import dice


class Objective(dice.Objective):
    """Sum over classes of 1 − I / (U + ε); options as for ``dice``, but absent classes count unless skipped."""

    OPTIONS: ClassVar[Mapping[str, Any]] = {"skip_absent": False, "cross_entropy": 0.0}
    SUM: ClassVar[bool] = True

    def overlap(self, both: Tensor, chance: Tensor, truth: Tensor) -> Tensor:
        """I / (U + ε) per class."""
        return both / (chance + truth - both + 1e-7)
