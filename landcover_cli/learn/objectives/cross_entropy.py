"""Cross-entropy of the labelled pixels, with label smoothing and class weights."""

from __future__ import annotations

from torch import Tensor, nn

from landcover_cli.learn.objective import IGNORE, Batch, ObjectiveBase, Task, logits_on_grid
from landcover_cli.learn.objectives._losses import class_weights, labelled_cross_entropy


class Objective(ObjectiveBase):
    """Mean cross-entropy; unlabelled pixels count nothing.

    ``train.class_weights``: ``none``, ``inverse`` (1 / pixels) or ``sqrt`` (1 / sqrt(pixels)); weights are scaled to a
    mean of one over the classes that have labels.
    """

    def __init__(self) -> None:
        self.smoothing = 0.0
        self.weight: Tensor | None = None
        self.options = dict(self.OPTIONS)

    def setup(self, task: Task) -> None:
        """Take smoothing and weights from the settings."""
        self.smoothing = task.config.label_smoothing
        self.weight = class_weights(task.class_px, task.config.class_weights, task.device)
        self.options = {**self.OPTIONS, **task.options}

    def step(self, network: nn.Module, batch: Batch) -> Tensor:
        """Loss of a batch; zero, with zero gradients, where nothing in it has a label."""
        logits = logits_on_grid(network(batch.inputs), (batch.target.shape[-2], batch.target.shape[-1]))
        if not bool((batch.target != IGNORE).any()):
            return logits.sum() * 0.0
        return self.loss(logits, batch)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Loss of logits ``[B, K, H, W]`` on the target's grid; the batch has a label."""
        return labelled_cross_entropy(
            logits, batch.target, by_class=self.weight, by_pixel=batch.weight, smoothing=self.smoothing
        )
