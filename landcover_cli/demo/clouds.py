"""The sky between surface and sensor: clouds, their shadows, cirrus, haze; and what Sen2Cor would make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landcover_cli.demo.noise import power_law_field, smooth_field, stream
from landcover_cli.demo.reflectance import BANDS
from landcover_cli.demo.region import PIXEL_M, Region
from landcover_cli.demo.weather import Acquisition

Array = NDArray[np.float32]

# Share of diffuse light under a clear sky, per band: much of the blue, little of the short-wave infrared.
_DIFFUSE = np.array([0.33, 0.25, 0.19, 0.17, 0.15, 0.13, 0.12, 0.115, 0.05, 0.035], np.float32)
# Colour of water clouds (they absorb a little at 1.6 and 2.2 µm), of cirrus and of haze left by the correction.
_CLOUD = np.array([0.74, 0.73, 0.73, 0.74, 0.75, 0.76, 0.76, 0.76, 0.62, 0.48], np.float32)
_CIRRUS = np.array([0.55, 0.53, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.34, 0.22], np.float32)
_HAZE = np.array([1.0, 0.72, 0.50, 0.42, 0.36, 0.32, 0.28, 0.26, 0.08, 0.04], np.float32)
# Slope of the power spectrum of cloud optical depth: -5/3 along a line (Davis et al. 1997, J. Atmos. Sci. 54, 241),
# which is -8/3 in the plane.
_CLOUD_BETA = 8.0 / 3.0

CLEAR_CLOUD, CLEAR_CIRRUS, CLEAR_SHADOW = 0.05, 0.02, 0.95


@dataclass(frozen=True)
class Sky:
    """One date's sky over the region, ``yx`` at 10 m.

    Attributes:
        cloud: Optical depth of water cloud, 0 where there is none.
        cirrus: Optical depth of cirrus.
        sunlight: Share of direct sunlight that reaches the ground, 1 outside shadows.
        haze: Residual path reflectance of the blue band, may be negative.
        gain: ``(bands,)`` calibration and correction error of the date.
    """

    cloud: Array
    cirrus: Array
    sunlight: Array
    haze: float
    gain: Array

    @property
    def clear(self) -> NDArray[np.bool_]:
        """The truth that no product tells: pixels free of cloud, cirrus and shadow."""
        return (self.cloud < CLEAR_CLOUD) & (self.cirrus < CLEAR_CIRRUS) & (self.sunlight > CLEAR_SHADOW)

    def through(self, surface: Array, rng: np.random.Generator) -> Array:
        """Reflectance ``(bands, rows, cols)`` that a product holds for a surface under this sky, with sensor noise."""
        light = _DIFFUSE[:, None, None] + (1 - _DIFFUSE[:, None, None]) * self.sunlight
        seen = surface * light * self.gain[:, None, None] + (self.haze * _HAZE)[:, None, None]
        # Two-stream reflectance of a cloud of optical depth τ and asymmetry 0.85.
        cover = 0.13 * self.cloud / (1 + 0.13 * self.cloud)
        seen = seen * (1 - cover) ** 2 + _CLOUD[:, None, None] * 1.25 * cover
        veil = 1 - np.exp(-0.5 * self.cirrus)
        seen = seen * (1 - veil) + _CIRRUS[:, None, None] * veil
        noise = rng.standard_normal(seen.shape, dtype=np.float32) * (0.0012 + 0.008 * np.abs(seen))
        return np.asarray(np.maximum(seen + noise, 0.0), np.float32)


def make_sky(region: Region, pass_: Acquisition, seed: int) -> Sky:
    """The sky of one pass: its cloud cover, with shadows thrown away from the sun by the height of the cloud base."""
    rng = stream(seed, "sky", pass_.day, pass_.platform)
    shape = (region.rows, region.cols)
    base_m = float(rng.uniform(600.0, 2000.0))
    reach_px = base_m * np.tan(np.deg2rad(min(pass_.sun_zenith_deg, 70.0))) / PIXEL_M
    azimuth = np.deg2rad(pass_.sun_azimuth_deg)
    # A shadow lies opposite to the sun: the pixel (row, col) is shaded by the cloud towards the sun.
    shift = (round(-np.cos(azimuth) * reach_px), round(np.sin(azimuth) * reach_px))
    pad = max(abs(shift[0]), abs(shift[1])) + 8
    wide = (shape[0] + 2 * pad, shape[1] + 2 * pad)
    rows, cols = slice(pad, pad + shape[0]), slice(pad, pad + shape[1])
    depth = _cloud_depth(wide, (rows, cols), pass_.cloud_cover, rng)
    shading = depth[pad + shift[0] : pad + shift[0] + shape[0], pad + shift[1] : pad + shift[1] + shape[1]]
    # The sun is half a degree wide: the penumbra blurs a shadow by about 1 % of the height of the cloud.
    shading = ndimage.gaussian_filter(np.ascontiguousarray(shading), max(0.004 * base_m / PIXEL_M, 0.3))
    cirrus = np.zeros(shape, np.float32)
    if rng.random() < 0.25:
        field = smooth_field(shape, 0.15 * max(shape), rng) + 0.25 * smooth_field(shape, 6.0, rng)
        cirrus = np.maximum(rng.uniform(0.02, 0.25) * (field + rng.uniform(-1.0, 0.6)), 0).astype(np.float32)
    return Sky(
        cloud=np.ascontiguousarray(depth[rows, cols]),
        cirrus=cirrus,
        sunlight=np.exp(-0.6 * shading).astype(np.float32),
        haze=float(rng.normal(0.003, 0.006)),
        gain=(1 + rng.normal(0, 0.018) + rng.normal(0, 0.012, len(BANDS))).astype(np.float32),
    )


def _cloud_depth(shape: tuple[int, int], core: tuple[slice, slice], cover: float, rng: np.random.Generator) -> Array:
    """Optical depth over the region and its surroundings; the cover holds for the region, ``core``."""
    if cover < 0.01:
        return np.zeros(shape, np.float32)
    field = power_law_field(shape, _CLOUD_BETA, rng)
    above = field - np.quantile(field[core], 1 - cover)
    return np.asarray(float(rng.uniform(12.0, 35.0)) * np.maximum(above, 0) ** 1.3, np.float32)


def half(field: NDArray[Any]) -> Array:
    """Mean over 2 × 2 pixels of the last two axes: 10 m → 20 m."""
    rows, cols = field.shape[-2:]
    cells = field.reshape(*field.shape[:-2], rows // 2, 2, cols // 2, 2)
    return np.asarray(cells.mean(axis=(-3, -1), dtype=np.float32))


def scene_classification(
    seen: Array, sky: Sky, inside: NDArray[np.bool_], pass_: Acquisition, seed: int
) -> NDArray[np.uint8]:
    """The SCL band ``yx`` at 20 m, with the errors that Sen2Cor is known for.

    Thin clouds and cloud edges are missed, some bright roofs pass for cloud, part of the shadow is not found, dark
    forest in winter passes for shadow of relief (class 2). Kinds of error: Zekoll et al. 2021, doi:10.3390/rs13010137.

    Args:
        seen: Reflectance ``(bands, rows, cols)`` of the product at 10 m, in the order of ``BANDS``.
        sky: The true sky.
        inside: ``yx`` at 10 m, False outside the swath.
        pass_: The acquisition.
        seed: The demo's seed.
    """
    rng = stream(seed, "scl", pass_.day, pass_.platform)
    cloud, cirrus, sunlight, band = half(sky.cloud), half(sky.cirrus), half(sky.sunlight), half(seen)
    blue, green, red, nir, swir = (band[BANDS.index(name)] for name in ("B02", "B03", "B04", "B08", "B11"))
    ndvi = (nir - red) / np.maximum(nir + red, 1e-3)
    eye = np.exp(0.35 * smooth_field(cloud.shape, 5.0, rng) + 0.1 * rng.standard_normal(cloud.shape))
    scl = np.where(ndvi > 0.4, 4, 5)
    scl = np.where((green > nir) & (nir < 0.12) & (swir < 0.08), 6, scl)
    dark = (nir < 0.11) & (scl != 6)
    scl = np.where(dark, 2, scl)
    scl = np.where((ndvi > 0.33) & (ndvi <= 0.4) & (rng.random(cloud.shape) < 0.3), 7, scl)
    found = smooth_field(cloud.shape, 12.0, rng) > -1.3
    scl = np.where((sunlight * eye < 0.72) & (sunlight < 0.97) & found, 3, scl)
    scl = np.where(cirrus * eye > 0.06, 10, scl)
    scl = np.where(cloud * eye > 0.8, 8, scl)
    scl = np.where((blue > 0.13) & (ndvi < 0.25) & (rng.random(cloud.shape) < 0.3), 8, scl)
    scl = np.where(cloud * eye > 2.5, 9, scl)
    whole = half(inside.astype(np.float32)) > 0.999
    return np.where(whole, scl, 0).astype(np.uint8)


def swath(region: Region, relative_orbit: int) -> NDArray[np.bool_]:
    """Pixels inside the swath: orbit 122 ends inside the region, along a line parallel to the ground track."""
    col = np.arange(region.cols) + 0.5
    row = np.arange(region.rows)[:, None] + 0.5
    if relative_orbit != 122:
        return np.ones((region.rows, region.cols), bool)
    # Descending tracks run towards the south-south-west, 12 to 14 degrees off the meridian at this latitude.
    edge = 1.02 * region.cols - np.tan(np.deg2rad(13.0)) * row
    return np.asarray(col < edge)
