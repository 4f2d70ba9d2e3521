"""ModelSpec: everything about a network but its weights, as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Port:
    """One input of a network.

    Attributes:
        name: Name of the source (``s2``, ``s1``, ``dem``).
        kind: ``series`` (dates) or ``image`` (T = 1).
        bands: Band names in order.
        gsd_m: Pixel edge in metres; a multiple or a divisor of the output's.
        units: ``reflectance``, ``gamma0_linear``, ``gamma0_db``, ...; what the values mean before normalisation.
        transform: Applied to valid values before normalisation: ``none`` or ``db`` (10·log10 of linear power; bands
            that are no power, such as a polarimetric index, stay as they are).
        mean: Per band, after `transform`.
        std: Per band, after `transform`; > 0.
        length: Number of dates a network with fixed T needs; None where T is free.
        optional: The network also works without this input.
    """

    name: str
    kind: Literal["series", "image"]
    bands: tuple[str, ...]
    gsd_m: float
    units: str
    transform: Literal["none", "db"] = "none"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    length: int | None = None
    optional: bool = False


@dataclass(frozen=True)
class Reference:
    """The configuration that a network's published figures are for.

    Attributes:
        ports: Inputs; `bands` gives anonymous ones.
        n_classes: Classes.
        size_px: Edge of the patch in pixels of the finest input.
        dates: Dates of each series without a fixed length.
        options: Options of the network that differ from its defaults.
        parameters: Number of trainable parameters to reproduce; None where no source gives a count.
        tolerance: Relative tolerance of `parameters`; 0 means exactly.
        printed: What a paper prints about the size, where it differs or is coarser.
    """

    ports: tuple[Port, ...]
    n_classes: int
    size_px: int
    dates: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    tolerance: float = 0.0
    printed: str = ""


def bands(count: int, first: str = "b") -> tuple[str, ...]:
    """Names of anonymous bands: ``b1`` .. ``bN``."""
    return tuple(f"{first}{index}" for index in range(1, count + 1))


@dataclass(frozen=True)
class ModelSpec:
    """A network's description; round-trips to JSON.

    Attributes:
        model: Name of the model plug-in.
        options: Keyword arguments of its constructor beyond ports and classes.
        ports: Inputs in order.
        classes: Legend entries in index order: ``{"code", "name", "color", "description"}``.
        legend: ``{"id", "version"}`` of the legend.
        gsd_m: Pixel edge of the output in metres.
        patch_px: Edge of the training patch in output pixels.
        halo_px: Output pixels at a window's rim that lack context and get the least weight.
        calendar: ``{"step": "month", "length": 12}``: the periods the series were made of.
        temperature: Divides the logits before the softmax (calibration).
        licence: Licence of the weights.
        source: Paper or code the network follows.
    """

    model: str
    options: Mapping[str, Any]
    ports: tuple[Port, ...]
    classes: tuple[Mapping[str, Any], ...]
    legend: Mapping[str, str]
    gsd_m: float
    patch_px: int
    halo_px: int
    calendar: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    licence: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ModelSpec:
        """From the JSON form.

        Raises:
            TypeError: Unknown or missing fields.
        """
        ports = tuple(
            Port(**{**port, "bands": tuple(port["bands"]), "mean": tuple(port["mean"]), "std": tuple(port["std"])})
            for port in value["ports"]
        )
        return cls(**{**value, "ports": ports, "classes": tuple(value["classes"])})
