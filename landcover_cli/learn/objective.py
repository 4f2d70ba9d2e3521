"""What a training objective is: everything between a batch and a loss.

A plug-in is a file in ``objectives/`` with a class ``Objective(ObjectiveBase)``. The loop calls `setup` once, `step`
per batch and `on_epoch_end` per epoch, and stores `state` in checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.batch import Modality

if TYPE_CHECKING:
    from landcover_cli.config.learning import TrainConfig

__all__ = ["IGNORE", "Batch", "ObjectiveBase", "Task", "logits_on_grid"]

IGNORE = -1
"""Target of pixels without a label."""


@dataclass(frozen=True)
class Batch:
    """Samples for one step.

    Attributes:
        inputs: One `Modality` per input.
        target: ``[B, H, W]`` int64 class indices, `IGNORE` where there is no label.
        patches: Positions of the samples in the patch store.
    """

    inputs: dict[str, Modality]
    target: Tensor
    patches: tuple[int, ...]

    def to(self, device: str) -> Batch:
        """The same on a device."""
        inputs = {name: Modality(*(tensor.to(device) for tensor in item)) for name, item in self.inputs.items()}
        return Batch(inputs, self.target.to(device), self.patches)


@dataclass(frozen=True)
class Task:
    """What there is to learn.

    Attributes:
        config: Training settings.
        class_px: Training pixels per class index.
        device: Where the network lives.
    """

    config: TrainConfig
    class_px: tuple[int, ...]
    device: str


class ObjectiveBase:
    """An objective that needs no set-up and keeps no state."""

    def setup(self, task: Task) -> None:
        """Called once, before the first epoch."""

    def step(self, network: nn.Module, batch: Batch) -> Tensor:
        """The loss of a batch: a scalar whose gradient reaches the network's parameters."""
        raise NotImplementedError

    def on_epoch_end(self, epoch: int, network: nn.Module) -> None:
        """Called after each epoch, counted from 1."""

    def state(self) -> dict[str, Any]:
        """JSON-able state for checkpoints."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up a state."""


def logits_on_grid(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits at any stride → float32 logits on the output grid (bilinear)."""
    logits = logits.float()
    if logits.shape[-2:] == size:
        return logits
    return interpolate(logits, size=size, mode="bilinear", align_corners=False)
