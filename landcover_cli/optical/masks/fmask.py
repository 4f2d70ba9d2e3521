"""Fmask: clouds, shadows, snow and water from Level-1C reflectance, for Sentinel-2.

Sources and pixel tests: `_spectral`; shadows: `_shadows`. Potential clouds are clouds where their probability exceeds
0.5 over water, and over land the 82.5th percentile of clear land plus 0.2; a pixel follows the majority of its 3 × 3.
Where less than a fifth of the land is clear (`least_clear_percent`) that percentile is one of haze, and a fixed
threshold takes its place: 0.5, what clear dates of a real series give (0.50 to 0.52). The whole scene is classified at
20 m, whatever part of it is asked for, so that no block matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import InputError
from landcover_cli.optical.masking import ANGLES, Mask
from landcover_cli.optical.masks._shadows import fill_hollows, group_pixels, match_shadows
from landcover_cli.optical.masks._spectral import (
    POTENTIAL,
    SNOW,
    VALID,
    WATER,
    displacement_index,
    keep_displaced,
    majority,
    pixel_tests,
)

NODATA, CLEAR, CLOUD, SHADOW, SNOWY, WATERY = 0, 1, 2, 3, 4, 5
"""Classes of `classify`, the codes of the published programs."""
_BANDS = ("B02", "B03", "B04", "B8A", "B11", "B12", "B10")
_HEIGHTS_M = (200.0, 12_000.0)
_LEAST_SIMILARITY = 0.3
_DARKER_DN = 200  # a hollow of more than 0.02
_STRIP = 1024
_DEFAULTS: dict[str, Any] = {
    "keep_snow": False,
    "displacement": False,
    "cloud_m": 150.0,
    "shadow_m": 300.0,
    "least_clear_percent": 20.0,
    "fallback_threshold": 0.5,
}


def classify(layers: Mapping[str, np.ndarray], gsd_m: float, options: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Classes of a whole scene.

    Args:
        layers: Bands [H, W] uint16, ρ = DN · 1e-4 − 0.1, 0 = nodata; and the angles in degrees, [h, w] each, evenly
            spread over the raster, azimuths clockwise from north towards the sun and the sensor.
        gsd_m: Pixel edge in metres.
        options: See `_DEFAULTS`; `cloud_m` and `shadow_m` widen clouds and shadows (metres).

    Returns:
        [H, W] of NODATA, CLEAR, CLOUD, SHADOW, SNOWY, WATERY; the earlier wins of nodata, cloud, shadow, snow, water.

    Raises:
        InputError: The angles are not known.
    """
    flags, cloud = _clouds(layers, options)
    valid = (flags & VALID) != 0
    shadow = _shadow(layers, flags, cloud, gsd_m)
    classes = np.full(flags.shape, CLEAR, np.uint8)
    classes[(flags & WATER) != 0] = WATERY
    classes[(flags & SNOW) != 0] = SNOWY
    classes[_widened(shadow, float(options["shadow_m"]), gsd_m)] = SHADOW
    classes[_widened(cloud, float(options["cloud_m"]), gsd_m)] = CLOUD
    classes[~valid] = NODATA
    return classes


def _clouds(
    layers: Mapping[str, np.ndarray], options: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Flags of the pixel tests, and the clouds."""
    bands = [np.ascontiguousarray(layers[name]) for name in _BANDS]
    flags = np.empty(bands[0].shape, np.uint8)
    probability = np.empty(bands[0].shape, np.float32)
    blue, green, red, nir, swir1, swir2, cirrus = bands
    pixel_tests(blue, green, red, nir, swir1, swir2, cirrus, flags, probability)
    limit = land_threshold(flags, probability, options)
    over = np.where((flags & WATER) != 0, np.float32(0.5), np.float32(limit))
    cloud = ((flags & POTENTIAL) != 0) & (probability > over)
    if options["displacement"]:
        index = displacement_index(layers["B07"], layers["B08"], layers["B8A"])
        cloud = keep_displaced(cloud, index)
    return flags, majority(cloud) & ((flags & VALID) != 0)


def land_threshold(flags: NDArray[np.uint8], probability: NDArray[np.float32], options: Mapping[str, Any]) -> float:
    """The probability above which a potential cloud over land is one."""
    clear = probability[(flags & (VALID | POTENTIAL | WATER)) == VALID]
    land = np.count_nonzero((flags & (VALID | WATER)) == VALID)
    if clear.size * 100.0 < float(options["least_clear_percent"]) * land or not clear.size:
        return float(options["fallback_threshold"])
    return float(np.percentile(clear, 82.5)) + 0.2


def _shadow(
    layers: Mapping[str, np.ndarray], flags: NDArray[np.uint8], cloud: NDArray[np.bool_], gsd_m: float
) -> NDArray[np.bool_]:
    missing = [name for name in ANGLES if name not in layers]
    if missing:
        raise InputError(
            "mask 'fmask': the angles of sun and sensor are not known", remedy="give the Level-1C SAFE product"
        )
    labels, number = ndimage.label(cloud, structure=np.ones((3, 3), bool), output=np.int32)
    if not number:
        return np.zeros_like(cloud)
    valid = (flags & VALID) != 0
    nir = np.where(valid, layers["B8A"], 0).astype(np.uint16)
    land = nir[(flags & (VALID | POTENTIAL | WATER)) == VALID]
    level = int(np.percentile(land if land.size else nir[valid], 17.5))
    dark = (fill_hollows(nir, level) > nir.astype(np.uint32) + _DARKER_DN).astype(np.uint8)
    dark[(flags & WATER) != 0] = 3
    dark[~valid] = 2
    first, pixels = group_pixels(labels, number)
    drift = _drift(layers, first, pixels, cloud.shape, gsd_m)
    return np.asarray(match_shadows(labels, first, pixels, dark, drift, _HEIGHTS_M, _LEAST_SIMILARITY))


def _drift(
    layers: Mapping[str, np.ndarray],
    first: NDArray[np.int64],
    pixels: NDArray[np.int32],
    shape_yx: tuple[int, ...],
    gsd_m: float,
) -> NDArray[np.float64]:
    """[objects, 2] pixels southwards and eastwards per metre of height, by the angles at each object's middle."""
    middle = pixels[(first[:-1] + first[1:]) // 2]
    at_y, at_x = middle // shape_yx[1], middle % shape_yx[1]
    sun_zenith, sun_azimuth, view_zenith, view_azimuth = (
        np.radians(_at(np.asarray(layers[name], np.float64), at_y, at_x, shape_yx)) for name in ANGLES
    )
    # The cloud is seen beyond its place, away from the sensor; its shadow falls away from the sun.
    sun, view = np.tan(np.minimum(sun_zenith, np.radians(85.0))), np.tan(view_zenith)
    east = view * np.sin(view_azimuth) - sun * np.sin(sun_azimuth)
    north = view * np.cos(view_azimuth) - sun * np.cos(sun_azimuth)
    return np.stack([-north, east], axis=1) / gsd_m


def _at(
    grid: NDArray[np.float64], at_y: NDArray[np.int32], at_x: NDArray[np.int32], shape_yx: tuple[int, ...]
) -> NDArray[np.float64]:
    """The nearest cell of an even grid over the raster."""
    rows = np.minimum(at_y.astype(np.int64) * grid.shape[0] // shape_yx[0], grid.shape[0] - 1)
    columns = np.minimum(at_x.astype(np.int64) * grid.shape[1] // shape_yx[1], grid.shape[1] - 1)
    return grid[rows, columns]


def _widened(where: NDArray[np.bool_], radius_m: float, gsd_m: float) -> NDArray[np.bool_]:
    """All within a radius, centre to centre; by strips, because distances of a whole scene take half a gigabyte."""
    if radius_m < gsd_m or not where.any():
        return where
    out = np.empty_like(where)
    reach = int(radius_m / gsd_m) + 1
    for top in range(0, where.shape[0], _STRIP):
        bottom = min(top + _STRIP, where.shape[0])
        start = max(top - reach, 0)
        part = where[start : bottom + reach]
        if part.any():
            part = ndimage.distance_transform_edt(~part, sampling=gsd_m) <= radius_m + 1e-6
        out[top:bottom] = part[top - start : bottom - start]
    return out


def compute(layers: Mapping[str, np.ndarray], gsd_m: float, options: Mapping[str, Any]) -> np.ndarray:
    """Mask codes: clouds and shadows are bad, snow too unless `keep_snow`."""
    classes = classify(layers, gsd_m, options)
    bad = np.isin(classes, (CLOUD, SHADOW) if options["keep_snow"] else (CLOUD, SHADOW, SNOWY))
    mask = np.where(bad, MASK_BAD, MASK_CLEAR).astype(np.uint8)
    mask[classes == NODATA] = MASK_NODATA
    return mask


MASK = Mask(
    name="fmask",
    title="Fmask on Level-1C: clouds, their shadows and snow",
    layers=_BANDS,
    more_layers=lambda bands, options: ("B07", "B08") if options["displacement"] else (),
    compute=compute,
    reach_m=lambda options: 0.0,
    defaults=_DEFAULTS,
    gsd_m=20.0,
    whole=True,
    angles=True,
)
