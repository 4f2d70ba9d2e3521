"""What a C-band radar sees: backscatter of every pixel on one day, with and without speckle.

Crops and grass follow the water-cloud model (Attema and Ulaby 1978, doi:10.1029/RS013i002p00357): a layer of leaves
over a soil whose echo grows with wetness and roughness. The shapes follow Veloso et al. 2017
(doi:10.1016/j.rse.2017.07.015) and Vreugdenhil et al. 2018 (doi:10.3390/rs10091396): upright cereal stems attenuate
VV in May, rapeseed and maize are bright in VH. Broadleaf forest is brighter in VH without leaves, coniferous forest
in summer (Rüetschi et al. 2018, doi:10.3390/rs10010055; Dubois et al. 2020,
doi:10.5194/isprs-annals-V-3-2020-97-2020). The decibel figures are our own round numbers of the magnitudes in these
papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landcover_cli.demo.landscape import Landscape
from landcover_cli.demo.noise import smooth_field, stream
from landcover_cli.demo.phenology import BARLEY, BEET, MAIZE, RAPESEED, WHEAT, Calendars
from landcover_cli.demo.region import BROADLEAF, BUILT, CONIFER, GRASS, WATER

Array = NDArray[np.float32]

# On the ellipsoid in the middle of the region, as relative orbit 44 sees it.
INCIDENCE_DEG = 39.1
# GRD in IW mode: five looks in range of unequal weight are equivalent to 4.4 independent ones, and the resolution of
# 20 m × 22 m is sampled every 10 m (Sentinel-1 Product Definition, S1-RS-MDA-52-7440, IW GRD high resolution).
# Weights (a, 1, 1, 1, a) with (3 + 2a)² / (3 + 2a²) = 4.4.
_LOOK_WEIGHTS = (0.4208, 1.0, 1.0, 1.0, 0.4208)
_RESOLUTION_SIGMA_PX = 0.75

# Saturated echo of the leaf layer (VV, VH) in dB, and its extinction per unit of leaf area.
_LAYER_DB = {
    WHEAT: (-12.0, -18.5), BARLEY: (-12.0, -17.8), RAPESEED: (-10.2, -14.8), MAIZE: (-9.8, -16.0), BEET: (-9.6, -15.2),
}  # fmt: skip
_GRASS_DB = (-12.2, -18.6)
_EXTINCTION = {WHEAT: 0.20, BARLEY: 0.22, RAPESEED: 0.35, MAIZE: 0.26, BEET: 0.32}
_GRASS_EXTINCTION = 0.22
_DRY_SOIL_DB = (-14.8, -22.0)
_WET_SOIL_GAIN_DB = 4.5


def from_db(value_db: NDArray[Any] | float) -> NDArray[np.float64]:
    """Decibels → linear power."""
    return np.asarray(10.0 ** (np.asarray(value_db, np.float64) / 10.0))


@dataclass(frozen=True)
class Scatterer:
    """What is fixed over the year for the radar.

    Attributes:
        landscape: The map.
        calendars: Phenology of its units.
        roughness_db: ``(units,)`` offset of the soil echo.
        offset_db: ``(units, 2)`` offset of the whole unit per polarisation.
        texture: ``(entries,)`` factor on power, heavy-tailed in villages.
    """

    landscape: Landscape
    calendars: Calendars
    roughness_db: Array
    offset_db: Array
    texture: Array

    def gamma0(self, day: int, wetness: float, wind_db: float) -> Array:
        """Expected gamma0 ``(2, rows, cols)``, linear power, VV then VH; no speckle, at the resolution of the product.

        It is the terrain-flattened one: what slopes do to the echo comes with the radar's geometry.

        Args:
            day: Day of the year.
            wetness: Topsoil wetness, 0 to 1.
            wind_db: Offset of the water's echo on this date.
        """
        per_unit = self._units(day, wetness, wind_db)
        entries = per_unit[self.landscape.unit] * self.texture[:, None]
        power = self.landscape.mix(entries.astype(np.float32))
        # The impulse response is wider than a pixel: neighbours share echoes.
        sigma = (0, _RESOLUTION_SIGMA_PX, _RESOLUTION_SIGMA_PX)
        return np.asarray(ndimage.gaussian_filter(power, sigma, mode="nearest"), np.float32)

    def _units(self, day: int, wetness: float, wind_db: float) -> NDArray[np.float64]:
        canopy = self.calendars.at(day)
        kinds = self.landscape.class_of_unit
        leaves = (canopy.green + 0.45 * canopy.brown).astype(np.float64)
        layer_db = np.tile(np.array(_GRASS_DB), (len(kinds), 1))
        extinction = np.full(len(kinds), _GRASS_EXTINCTION)
        for kind, level in _LAYER_DB.items():
            layer_db[self.calendars.kind == kind] = level
            extinction[self.calendars.kind == kind] = _EXTINCTION[kind]
        # Upright stems are vertical dipoles: they absorb VV and let VH pass.
        layer_db = layer_db - canopy.upright[:, None] * np.array([3.2, 1.0])
        attenuation = np.exp(
            -2 * (extinction * (1 + 0.9 * canopy.upright) * leaves) / np.cos(np.deg2rad(INCIDENCE_DEG))
        )
        soil_db = np.array(_DRY_SOIL_DB) + (_WET_SOIL_GAIN_DB * wetness + self.roughness_db)[:, None]
        power = from_db(layer_db) * (1 - attenuation[:, None]) + from_db(soil_db) * attenuation[:, None]
        leafy = np.clip(canopy.green / 4.5, 0, 1)[:, None]
        warm = 0.5 - 0.5 * np.cos(2 * np.pi * (day - 20) / 365)
        for which, level_db in (
            (BROADLEAF, np.array([-9.4, -13.9]) - leafy * np.array([0.5, 1.5])),
            (CONIFER, np.array([-9.5, -14.9]) + warm * np.array([0.4, 1.4])),
            (BUILT, np.array([-6.5, -13.5])),
            (WATER, np.array([-18.5, -26.5]) + wind_db * np.array([1.0, 0.5])),
        ):
            power = np.where((kinds == which)[:, None], from_db(level_db), power)
        return np.asarray(power * from_db(self.offset_db))


def make_scatterer(landscape: Landscape, calendars: Calendars, seed: int) -> Scatterer:
    """Draw the fixed part of the radar scene."""
    rng = stream(seed, "radar")
    kinds = landscape.class_of_unit
    units = len(kinds)
    shape = (landscape.region.rows, landscape.region.cols)
    built = (kinds == BUILT)[landscape.unit]
    grain = smooth_field(shape, 0.6, rng).ravel()[landscape.pixel]
    patch = smooth_field(shape, 4.0, rng).ravel()[landscape.pixel]
    texture_db = np.where(built, 3.2 * grain - 1.0, 0.35 * patch)
    fields = np.isin(kinds, (GRASS,)) | (calendars.kind >= 0)
    offset_db = rng.normal(0.0, 0.35, (units, 1)) + rng.normal(0.0, 0.2, (units, 2))
    return Scatterer(
        landscape,
        calendars,
        np.where(fields, rng.normal(0.0, 0.9, units), 0.0).astype(np.float32),
        offset_db.astype(np.float32),
        from_db(texture_db).astype(np.float32),
    )


def speckle(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Multiplicative speckle ``yx`` of mean 1 and 4.4 equivalent looks, correlated between neighbouring pixels.

    Complex Gaussian looks, smoothed by the impulse response and detected; the weighted mean of five of them.
    """
    total = np.zeros(shape, np.float32)
    margin = 4
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    # Variance of white noise after the filter, so that every look has unit mean power.
    kernel = ndimage.gaussian_filter1d(np.eye(1, 33, 16)[0], _RESOLUTION_SIGMA_PX)
    gain = np.float32(1 / np.sum(kernel**2) ** 2)
    for weight in _LOOK_WEIGHTS:
        field = rng.standard_normal((2, *wide), dtype=np.float32)
        field = ndimage.gaussian_filter(field, (0, _RESOLUTION_SIGMA_PX, _RESOLUTION_SIGMA_PX))
        inner = field[:, margin:-margin, margin:-margin]
        total += weight * 0.5 * gain * (inner[0] ** 2 + inner[1] ** 2)
    return (total / np.float32(sum(_LOOK_WEIGHTS))).astype(np.float32)
