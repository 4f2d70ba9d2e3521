"""Cross-entropy of the labelled pixels, with label smoothing and class weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from landcover_cli.learn.objective import IGNORE, Batch, ObjectiveBase, Task, logits_on_grid


class Objective(ObjectiveBase):
    """Mean cross-entropy; unlabelled pixels count nothing.

    ``train.class_weights``: ``none``, ``inverse`` (1 / pixels) or ``sqrt`` (1 / sqrt(pixels)); weights are scaled to a
    mean of one over the classes that have labels.
    """

    def __init__(self) -> None:
        self.smoothing = 0.0
        self.weight: Tensor | None = None

    def setup(self, task: Task) -> None:
        """Take smoothing and weights from the settings."""
        self.smoothing = task.config.label_smoothing
        self.weight = None
        if task.config.class_weights != "none":
            count = torch.tensor(task.class_px, dtype=torch.float64)
            power = 1.0 if task.config.class_weights == "inverse" else 0.5
            weight = torch.where(count > 0, count.clamp_min(1) ** -power, torch.zeros_like(count))
            self.weight = (weight * (count > 0).sum() / weight.sum()).float().to(task.device)

    def step(self, network: nn.Module, batch: Batch) -> Tensor:
        """Loss of a batch; zero, with zero gradients, where nothing in it has a label."""
        logits = logits_on_grid(network(batch.inputs), (batch.target.shape[-2], batch.target.shape[-1]))
        if not bool((batch.target != IGNORE).any()):
            return logits.sum() * 0.0
        return cross_entropy(
            logits, batch.target, weight=self.weight, ignore_index=IGNORE, label_smoothing=self.smoothing
        )
