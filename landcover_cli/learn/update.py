"""From gradients to weights: optimiser, clipping, scaling of half precision, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from landcover_cli.config.learning import TrainConfig

__all__ = ["Updater", "snapshot"]

_LEAST_SCALE = 1e-4
"""Below this scale a float16 gradient does not overflow because it is large, but because it is no number."""


class Updater:
    """Turns a network's gradients into updates.

    Attributes:
        count: Updates made so far.
        average: Exponential moving average of the network's state; empty where ``train.ema`` is 0.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, device: str) -> None:
        self._network, self._config = network, config
        self._optimiser = _optimiser(network, config)
        self._scaler = torch.amp.GradScaler(device.partition(":")[0], enabled=config.precision == "float16")
        self._share: float = 1.0
        self.count = 0
        self.average: dict[str, Tensor] = _clone(network) if config.ema > 0 else {}

    def begin(self, batches: int) -> None:
        """Forget old gradients; the next `batches` losses make one update together."""
        self._optimiser.zero_grad(set_to_none=True)
        self._share = 1.0 / batches

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss."""
        part = loss if self._share == 1.0 else loss * self._share
        self._scaler.scale(part).backward()  # type: ignore[no-untyped-call]

    def update(self, rate: float) -> float:
        """Change the weights by what was gathered.

        Args:
            rate: Learning rate.

        Returns:
            The gradient's norm before clipping. A float16 gradient that overflowed makes no update; the scale is
            lowered, and the norm returned is 0.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._scaler.unscale_(self._optimiser)
        norm = float(nn.utils.clip_grad_norm_(self._network.parameters(), self._config.clip or math.inf))
        if not math.isfinite(norm) and not self._overflowed():
            return norm
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self.count += 1
        self._follow()
        return norm if math.isfinite(norm) else 0.0

    def _overflowed(self) -> bool:
        return self._scaler.is_enabled() and float(self._scaler.get_scale()) > _LEAST_SCALE

    def _follow(self) -> None:
        """Move the average towards the weights; young averages move faster, so that the start leaves no trace."""
        if not self.average:
            return
        decay = min(self._config.ema, (1 + self.count) / (10 + self.count))
        for name, tensor in self._network.state_dict().items():
            kept = self.average[name]
            if kept.is_floating_point():
                kept.lerp_(tensor.detach(), 1.0 - decay)
            else:
                kept.copy_(tensor)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the averaged weights inside; with its own again afterwards."""
        if not self.average:
            yield
            return
        own = _clone(self._network)
        self._network.load_state_dict(self.average)
        try:
            yield
        finally:
            self._network.load_state_dict(own)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """(JSON-able facts, tensors) for a checkpoint."""
        tensors = {f"average/{name}": tensor for name, tensor in self.average.items()}
        for position, item in self._optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimiser/{position}/{name}": torch.as_tensor(value)
                for name, value in item.items()
                if value is not None
            }
        return {"updates": self.count, "scaler": self._scaler.state_dict()}, tensors

    def load_state(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave.

        Raises:
            KeyError: Another version's state.
        """
        full = self._optimiser.state_dict()
        full["state"] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser/"):
                _, position, leaf = name.split("/", 2)
                full["state"].setdefault(int(position), {})[leaf] = tensor
        self._optimiser.load_state_dict(full)
        for name, kept in self.average.items():
            kept.copy_(tensors[f"average/{name}"])
        self.count = int(facts["updates"])
        if facts["scaler"]:
            self._scaler.load_state_dict(dict(facts["scaler"]))


def _optimiser(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser; weight decay reaches convolution and linear weights alone."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.learning_rate)


def _clone(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A network's state in memory of its own, on the CPU."""
    return {name: tensor.detach().clone().cpu() for name, tensor in network.state_dict().items()}
