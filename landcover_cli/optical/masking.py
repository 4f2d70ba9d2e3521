"""What a cloud-and-shadow mask plug-in is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from landcover_cli.errors import ConfigError

ANGLES = ("sun_zenith_deg", "sun_azimuth_deg", "view_zenith_deg", "view_azimuth_deg")
"""Layers that a mask with `angles` gets besides its own: evenly spread over the raster, clockwise from north."""

MaskFunction = Callable[[Mapping[str, np.ndarray], float, Mapping[str, Any]], np.ndarray]


@dataclass(frozen=True)
class Mask:
    """A mask plug-in (attribute ``MASK`` of a module in `landcover_cli.optical.masks`).

    Attributes:
        name: The stem of its file.
        title: For people.
        layers: Names of the scene's rasters it reads, all on one lattice unless `gsd_m` is given.
        defaults: Options and their defaults; they also say which options exist.
        compute: ``compute(layers, gsd_m, options)`` → uint8 raster of `core.types` codes MASK_NODATA, MASK_CLEAR,
            MASK_BAD, on the layers' lattice.
        reach_m: How far a pixel can act on the mask around it, given the options; a window read with this margin gives
            the mask of the whole scene.
        more_layers: ``more_layers(bands, options)`` → layers besides `layers`, by the bands asked for and the options.
        gsd_m: Pixel edge that all layers are brought to, codes by nearest, measurements by averages or bilinearly;
            coarser where the scene is; None: the layers' own.
        whole: `compute` gets the whole scene at once, never a window of it.
        angles: `layers` also holds `ANGLES`.

    Bands of a scene come as uint16 with ρ = DN · 1e-4 − 0.1, other layers as they are in the file.
    """

    name: str
    title: str
    layers: tuple[str, ...]
    compute: MaskFunction
    reach_m: Callable[[Mapping[str, Any]], float]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    more_layers: Callable[[tuple[str, ...], Mapping[str, Any]], tuple[str, ...]] = lambda bands, options: ()
    gsd_m: float | None = None
    whole: bool = False
    angles: bool = False

    def layer_names(self, bands: tuple[str, ...], given: Mapping[str, Any]) -> tuple[str, ...]:
        """Every raster of a scene that the mask reads, each once.

        Args:
            bands: Bands that are asked for.
            given: Options, as in `options`.
        """
        return tuple(dict.fromkeys((*self.layers, *self.more_layers(bands, self.options(given)))))

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults overridden by what was given.

        Raises:
            ConfigError: An option the mask does not have, or of another type.
        """
        for key, value in given.items():
            if key not in self.defaults:
                raise ConfigError(
                    f"mask {self.name!r} has no option {key!r}", remedy=f"known: {', '.join(sorted(self.defaults))}"
                )
            default = self.defaults[key]
            if isinstance(default, bool) != isinstance(value, bool) or isinstance(default, str) != isinstance(
                value, str
            ):
                raise ConfigError(
                    f"option {key!r} of mask {self.name!r} is {value!r}", remedy=f"give a value like {default!r}"
                )
            if isinstance(value, float | int) and not 0 <= value <= 10_000:
                raise ConfigError(f"option {key!r} of mask {self.name!r} is {value!r}", remedy="give 0 … 10000 metres")
        return {**self.defaults, **given}
