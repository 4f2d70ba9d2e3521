"""What there is to know about a network without training it: inputs, parameters, multiply-accumulates.

All on PyTorch's meta device: sizes alone, no memory, so that the largest network takes a moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from landcover_cli.learn.modelfolder import resolve_options
from landcover_cli.registry import load, names
from models.batch import Modality
from models.spec import Port, Reference

__all__ = ["NetworkFacts", "network_facts", "networks"]


@dataclass(frozen=True)
class NetworkFacts:
    """A network at the configuration that its source gives figures for.

    Attributes:
        model: Name of the plug-in.
        inputs: Its inputs there, e.g. ``s2: series of 60 dates × 10 bands, 128 px``.
        parameters: Trainable parameters.
        gmacs: Multiply-accumulates of one forward pass of one patch, in 10⁹; attention included.
        published: Parameters to reproduce; None where no source gives a count.
        printed: What a paper prints, where it differs or is coarser.
        source: Paper or code.
        licence: Of the code.
        output: ``map`` or ``series``.
        options: Options and their defaults.
    """

    model: str
    inputs: tuple[str, ...]
    parameters: int
    gmacs: float
    published: int | None
    printed: str
    source: str
    licence: str
    output: str
    options: dict[str, Any]


def networks() -> tuple[str, ...]:
    """Names of the networks that have a reference configuration."""
    return tuple(name for name in names("model") if hasattr(load("model", name), "REFERENCE"))


def network_facts(name: str) -> NetworkFacts:
    """Build a network at its reference configuration, on no device, and count.

    Raises:
        ConfigError: Unknown network.
        ValueError: A network without a reference configuration.
    """
    plugin = load("model", name)
    reference: Reference | None = getattr(plugin, "REFERENCE", None)
    if reference is None:
        raise ValueError(f"network {name!r} states no reference configuration")
    finest = min(port.gsd_m for port in reference.ports)
    edges = {port.name: max(1, round(reference.size_px * finest / port.gsd_m)) for port in reference.ports}
    with torch.device("meta"):
        network: nn.Module = plugin(reference.ports, reference.n_classes, **reference.options).eval()
        inputs = {port.name: _modality(port, edges[port.name], reference.dates) for port in reference.ports}
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(inputs)
    return NetworkFacts(
        model=name,
        inputs=tuple(_describe(port, edges[port.name], reference.dates) for port in reference.ports),
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        gmacs=counter.get_total_flops() / 2e9,
        published=reference.parameters,
        printed=reference.printed,
        source=plugin.SOURCE,
        licence=plugin.LICENCE,
        output=getattr(plugin, "OUTPUT", "map"),
        options=resolve_options(name, {}),
    )


def _modality(port: Port, edge: int, dates: int) -> Modality:
    length = _dates(port, dates)
    days = torch.zeros(1, length, dtype=torch.int64)
    present = torch.zeros(1, length, dtype=torch.bool)
    valid = torch.zeros(1, length, edge, edge, dtype=torch.bool)
    return Modality(torch.zeros(1, length, len(port.bands), edge, edge), valid, days, days, present)


def _dates(port: Port, dates: int) -> int:
    return 1 if port.kind == "image" else port.length or dates


def _describe(port: Port, edge: int, dates: int) -> str:
    times = f"{_dates(port, dates)} dates × " if port.kind == "series" else ""
    return f"{port.name}: {port.kind}, {times}{len(port.bands)} bands, {edge} px"
