"""What a clear sky would show: surface reflectance of every pixel on one day, in the ten 10 m and 20 m bands.

A canopy over a background follows the form of Baret and Guyot 1991 (doi:10.1016/0034-4257(91)90009-U):
``ρ = ρ∞ + (ρ_background - ρ∞) exp(-K · LAI)`` per band. The end-member spectra are our own round numbers of the usual
magnitude, set so that green crops, grass and broadleaf trees resemble each other on one date.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landcover_cli.demo.landscape import Landscape
from landcover_cli.demo.noise import smooth_field, stream
from landcover_cli.demo.phenology import Calendars
from landcover_cli.demo.region import BROADLEAF, BUILT, CONIFER, GRASS, WATER

Array = NDArray[np.float32]

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
BANDS_10M = ("B02", "B03", "B04", "B08")
BANDS_20M = ("B05", "B06", "B07", "B8A", "B11", "B12")


def _spectrum(*values: float) -> Array:
    return np.array(values, np.float32)


#                    B02    B03    B04    B05    B06    B07    B08    B8A    B11    B12
_GREEN = _spectrum(0.026, 0.056, 0.027, 0.088, 0.290, 0.380, 0.410, 0.430, 0.200, 0.095)
_GRASS = _spectrum(0.027, 0.057, 0.029, 0.091, 0.283, 0.370, 0.400, 0.420, 0.206, 0.100)
_LEAFY = _spectrum(0.023, 0.050, 0.024, 0.080, 0.272, 0.360, 0.390, 0.410, 0.190, 0.087)
_NEEDLE = _spectrum(0.016, 0.029, 0.018, 0.047, 0.150, 0.195, 0.210, 0.220, 0.098, 0.046)
_BROWN = _spectrum(0.070, 0.105, 0.145, 0.180, 0.215, 0.240, 0.260, 0.285, 0.350, 0.245)
_FLOWER = _spectrum(0.045, 0.135, 0.130, 0.190, 0.330, 0.390, 0.430, 0.440, 0.210, 0.105)
_SOIL = _spectrum(0.072, 0.102, 0.135, 0.155, 0.172, 0.188, 0.205, 0.220, 0.290, 0.245)
_LITTER = _spectrum(0.034, 0.050, 0.068, 0.090, 0.118, 0.138, 0.158, 0.178, 0.225, 0.160)
_ROOF = _spectrum(0.085, 0.108, 0.155, 0.175, 0.190, 0.205, 0.222, 0.235, 0.275, 0.245)
_PAVED = _spectrum(0.095, 0.108, 0.118, 0.124, 0.130, 0.136, 0.145, 0.150, 0.172, 0.160)
_BRIGHT = _spectrum(0.270, 0.300, 0.320, 0.330, 0.340, 0.345, 0.350, 0.355, 0.360, 0.330)
_WATER = _spectrum(0.034, 0.040, 0.026, 0.019, 0.013, 0.012, 0.010, 0.009, 0.006, 0.004)
# Extinction per unit of leaf area: light that leaves do not absorb reaches deeper into the canopy.
_K = _spectrum(0.95, 0.85, 0.95, 0.75, 0.50, 0.45, 0.45, 0.45, 0.65, 0.80)


@dataclass(frozen=True)
class Surface:
    """What is fixed over the year; draws of every unit and pixel.

    Attributes:
        landscape: The map.
        calendars: The phenology of its units.
        infinite: ``(units, bands)`` reflectance of a dense green canopy.
        background: ``(entries, bands)`` reflectance of the dry ground under each (pixel, unit) pair.
        wets: ``(units,)`` 1 where the ground darkens with rain, 0 where not.
        leaf_factor: ``(entries,)`` fertility and texture: factor on the leaf area.
        shade: ``(entries,)`` factor on the reflectance (crown shadows).
    """

    landscape: Landscape
    calendars: Calendars
    infinite: Array
    background: Array
    wets: Array
    leaf_factor: Array
    shade: Array

    def reflectance(self, day: int, wetness: float) -> Array:
        """Area-averaged reflectance ``(bands, rows, cols)`` at 10 m on a day of the year.

        Args:
            day: Day of the year.
            wetness: Topsoil wetness, 0 to 1; wet soil is up to 45 % darker.
        """
        unit = self.landscape.unit
        canopy = self.calendars.at(day)
        total = canopy.green + canopy.brown + np.float32(1e-6)
        dead = (canopy.brown / total)[:, None]
        infinite = self.infinite * (1 - dead) + _BROWN * dead
        infinite = infinite * (1 - 0.6 * canopy.flower[:, None]) + _FLOWER * 0.6 * canopy.flower[:, None]
        ground = self.background * (1 - 0.45 * wetness * self.wets)[unit][:, None]
        area = (total[unit] * self.leaf_factor)[:, None]
        top = infinite[unit]
        mixed = (top + (ground - top) * np.exp(-_K * area)) * self.shade[:, None]
        return self.landscape.mix(mixed)


def make_surface(landscape: Landscape, calendars: Calendars, seed: int) -> Surface:
    """Draw what makes two parcels of one class, and two pixels of one parcel, differ."""
    rng = stream(seed, "surface")
    units = len(landscape.class_of_unit)
    kind = landscape.class_of_unit
    infinite = np.tile(_GREEN, (units, 1))
    for which, spectrum in ((GRASS, _GRASS), (BROADLEAF, _LEAFY), (CONIFER, _NEEDLE), (BUILT, _GRASS)):
        infinite[kind == which] = spectrum
    # No stand is pure: conifers stand among broadleaf trees and the other way round.
    forest = (kind == BROADLEAF) | (kind == CONIFER)
    other = np.where(kind == BROADLEAF, rng.beta(1.3, 4.5, units), rng.beta(1.2, 6.0, units)).astype(np.float32)[
        :, None
    ]
    swapped = np.where((kind == BROADLEAF)[:, None], _NEEDLE, _LEAFY)
    infinite = np.where(forest[:, None], infinite * (1 - other) + swapped * other, infinite)
    infinite = infinite * _band_factors(units, 0.10, rng)
    background = _backgrounds(kind, rng)[landscape.unit]
    background = _built_up(landscape, background, rng)
    pixels = _pixel_fields(landscape, rng)
    entry_class = kind[landscape.unit]
    fertile = np.clip(rng.normal(1.0, 0.16, units), 0.5, 1.4).astype(np.float32)
    leaf = fertile[landscape.unit] * np.clip(1 + 0.16 * pixels["patch"] + 0.08 * pixels["grain"], 0.2, 2.0)
    leaf = np.where(entry_class == BUILT, leaf * np.exp(0.9 * pixels["yard"]), leaf)
    leaf = np.where(entry_class == WATER, 0.0, leaf)
    rough = np.select([forest[landscape.unit], entry_class == WATER], [0.10, 0.06], 0.035)
    shade = np.clip(1 + rough * pixels["grain2"], 0.5, 1.5)
    soil = np.clip(1 + 0.07 * pixels["patch2"], 0.6, 1.4)[:, None]
    background = np.where(np.isin(entry_class, (BUILT, WATER))[:, None], background, background * soil)
    wets = np.where(kind == WATER, 0.0, np.where(kind == BUILT, 0.25, np.where(forest, 0.5, 1.0)))
    return Surface(
        landscape,
        calendars,
        infinite.astype(np.float32),
        background.astype(np.float32),
        wets.astype(np.float32),
        leaf.astype(np.float32),
        shade.astype(np.float32),
    )


def _band_factors(units: int, deviation: float, rng: np.random.Generator) -> Array:
    """Per-unit factors: one common to all bands, one each for the visible, near infrared and short-wave groups."""
    group = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    common = rng.normal(0, 0.6 * deviation, (units, 1))
    own = rng.normal(0, deviation, (units, 3))[:, group]
    return np.clip(1 + common + own, 0.6, 1.5).astype(np.float32)


def _backgrounds(kind: NDArray[np.int64], rng: np.random.Generator) -> Array:
    units = len(kind)
    ground = np.tile(_SOIL, (units, 1))
    ground[(kind == BROADLEAF) | (kind == CONIFER)] = _LITTER
    # Soil colour varies between fields far more than within one.
    ground *= np.clip(rng.normal(1.0, 0.16, (units, 1)), 0.55, 1.5) * _band_factors(units, 0.04, rng)
    water = kind == WATER
    turbid = rng.gamma(2.0, 0.5, (units, 1))
    return np.where(water[:, None], _WATER * (0.7 + 0.3 * turbid), ground).astype(np.float32)


def _built_up(landscape: Landscape, background: Array, rng: np.random.Generator) -> Array:
    """Tiles, asphalt, bare yards and a few bright metal roofs, mixed anew in every pixel."""
    built = landscape.class_of_unit[landscape.unit] == BUILT
    parts = rng.dirichlet((1.1, 1.2, 0.8, 0.12), int(built.sum())).astype(np.float32)
    bright = np.exp(rng.normal(0.0, 0.28, (int(built.sum()), 1))).astype(np.float32)
    spectra = np.stack([_ROOF, _PAVED, _SOIL, _BRIGHT])
    background = background.copy()
    background[built] = (parts @ spectra) * bright
    return background


def _pixel_fields(landscape: Landscape, rng: np.random.Generator) -> dict[str, Array]:
    """Textures at 10 m, looked up per entry: slow ones (soil moisture, manure, relief) and one-pixel ones."""
    shape = (landscape.region.rows, landscape.region.cols)
    scales = {"patch": 4.0, "patch2": 6.0, "grain": 0.6, "grain2": 0.5, "yard": 1.0}
    return {name: smooth_field(shape, scale, rng).ravel()[landscape.pixel] for name, scale in scales.items()}
