"""Sensors; one file each: bands with wavelength and pixel size, how values are stored, what others call the bands.

A sensor plug-in is a module with an attribute ``SENSOR``, a `Sensor`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class SensorBand:
    """One band.

    Attributes:
        name: Name used in pipeline files and cubes.
        gsd_m: Native pixel edge in metres.
        aliases: Other names, lower case: STAC asset keys and common names, names in other people's files.
        wavelength_nm: Centre wavelength; None for radar and classes.
        width_nm: Bandwidth (FWHM); None as above.
    """

    name: str
    gsd_m: float
    aliases: tuple[str, ...] = ()
    wavelength_nm: float | None = None
    width_nm: float | None = None


@dataclass(frozen=True)
class Sensor:
    """A sensor plug-in.

    Attributes:
        name: The stem of its file.
        title: For people.
        bands: Measurement bands in the sensor's own order.
        layers: Further rasters of a scene that are no measurement (scene classification, quality).
        dtype: How cubes store values: ``uint16`` (0 = nothing) or ``float32`` (NaN = nothing).
        units: What stored · scale + offset means.
        scale: See `units`.
        offset: See `units`.
        positive: Values of zero or less mean nothing (linear power).
    """

    name: str
    title: str
    bands: tuple[SensorBand, ...]
    dtype: Literal["uint16", "float32"]
    units: str
    layers: tuple[SensorBand, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    positive: bool = False
    _names: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for band in (*self.bands, *self.layers):
            for name in (band.name.lower(), *band.aliases):
                if self._names.setdefault(name, band.name) != band.name:
                    raise ValueError(f"sensor {self.name}: {name!r} names both {self._names[name]} and {band.name}")

    def band_names(self) -> tuple[str, ...]:
        """Names of the measurement bands."""
        return tuple(band.name for band in self.bands)

    def canonical(self, name: str) -> str | None:
        """This sensor's name of a band that somebody calls `name`; None if no band is called that."""
        return self._names.get(name.strip().lower())
