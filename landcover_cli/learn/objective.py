"""What a training objective is: everything between a batch and a loss.

A plug-in is a file in ``objectives/`` with a class ``Objective(ObjectiveBase)``. The loop calls `setup` once, `step`
per batch and `on_epoch_end` per epoch, and stores `state` in checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import interpolate

from landcover_cli.errors import ConfigError
from landcover_cli.registry import load
from models.batch import Modality

if TYPE_CHECKING:
    from landcover_cli.config.learning import TrainConfig

__all__ = [
    "IGNORE",
    "Batch",
    "ObjectiveBase",
    "Task",
    "logits_on_grid",
    "make_objective",
    "resolve_objective_options",
]

IGNORE = -1
"""Target of pixels without a label."""


@dataclass(frozen=True)
class Batch:
    """Samples for one step.

    Attributes:
        inputs: One `Modality` per input.
        target: ``[B, H, W]`` int64 class indices, `IGNORE` where there is no label.
        patches: Positions of the samples in the patch store.
        weight: ``[B, H, W]`` float32, what each pixel's label counts; None where all count alike.
    """

    inputs: dict[str, Modality]
    target: Tensor
    patches: tuple[int, ...]
    weight: Tensor | None = None

    def to(self, device: str) -> Batch:
        """The same on a device."""
        inputs = {name: Modality(*(tensor.to(device) for tensor in item)) for name, item in self.inputs.items()}
        weight = None if self.weight is None else self.weight.to(device)
        return Batch(inputs, self.target.to(device), self.patches, weight)


@dataclass(frozen=True)
class Task:
    """What there is to learn.

    Attributes:
        config: Training settings.
        class_px: Training pixels per class index.
        device: Where the network lives.
        options: The objective's own options, defaults filled in (``train.objective_options``).
    """

    config: TrainConfig
    class_px: tuple[int, ...]
    device: str
    options: Mapping[str, Any] = field(default_factory=dict)


class ObjectiveBase:
    """An objective that needs no set-up and keeps no state.

    Attributes:
        OPTIONS: Names and defaults of its own options; their types are those of the defaults.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {}

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


def resolve_objective_options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of an objective, with its defaults filled in.

    Raises:
        ConfigError: Unknown objective, an option that it does not have, or a value of another type.
    """
    known = dict(getattr(load("objective", name), "OPTIONS", {}))
    for key, value in given.items():
        if key not in known:
            raise ConfigError(
                f"train.objective_options: {name!r} has no option {key!r}",
                remedy=f"its options: {', '.join(known) or 'none'}",
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        wanted = bool if isinstance(known[key], bool) else (int, float)
        if not isinstance(value, wanted) or (wanted is not bool and not number):
            raise ConfigError(
                f"train.objective_options.{key}: {value!r} is no {'yes or no' if wanted is bool else 'number'}",
                remedy=f"the default is {known[key]!r}",
            )
    return known | dict(given)


def make_objective(config: TrainConfig, class_px: Sequence[int], device: str) -> ObjectiveBase:
    """The objective of a training, set up.

    Raises:
        ConfigError: As `resolve_objective_options`.
    """
    objective: ObjectiveBase = load("objective", config.objective)()
    options = resolve_objective_options(config.objective, config.objective_options)
    objective.setup(Task(config, tuple(class_px), device, options))
    return objective


def logits_on_grid(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits at any stride → float32 logits on the output grid (bilinear)."""
    logits = logits.float()
    if logits.shape[-2:] == size:
        return logits
    return interpolate(logits, size=size, mode="bilinear", align_corners=False)
