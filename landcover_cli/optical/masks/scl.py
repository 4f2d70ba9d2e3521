"""Mask from the scene classification (SCL) of Level-2A products.

Classes: 0 no data, 1 saturated or defective, 2 dark area, 3 cloud shadow, 4 vegetation, 5 bare, 6 water,
7 unclassified, 8 cloud (medium probability), 9 cloud (high), 10 thin cirrus, 11 snow or ice (Sentinel-2 L2A
Algorithm Theoretical Basis Document, scene classification). Codes beyond 11, which lossy copies of the raster contain,
count as unclassified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.optical.masking import Mask

_DEFAULTS: dict[str, Any] = {
    "strict": False,
    "keep_snow": False,
    "opening_m": 20.0,
    "cloud_m": 160.0,
    "cirrus_m": 80.0,
    "shadow_m": 80.0,
    "nodata_m": 20.0,
}


def _among(scl_yx: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Whether a pixel is of one of some classes; a few comparisons are ten times quicker than `np.isin`."""
    found = scl_yx == classes[0]
    for one in classes[1:]:
        found |= scl_yx == one
    return found


def _distance_m(where_yx: np.ndarray, gsd_m: float) -> np.ndarray:
    """Distance of every pixel to the nearest true one, centre to centre, in metres."""
    from scipy import ndimage  # a quarter of a second that only dilation needs

    distance: np.ndarray = ndimage.distance_transform_edt(~where_yx, sampling=gsd_m)
    return distance


def _grow(where_yx: np.ndarray, radius_m: float, gsd_m: float) -> np.ndarray:
    if radius_m < gsd_m or not where_yx.any():
        return where_yx
    return _distance_m(where_yx, gsd_m) <= radius_m + 1e-6


def _open(where_yx: np.ndarray, radius_m: float, gsd_m: float) -> np.ndarray:
    """Remove what is narrower than a disc of that radius; pixels at the raster's edge are not eroded from outside."""
    if radius_m < gsd_m or not where_yx.any():
        return where_yx
    core = ~_grow(~where_yx, radius_m, gsd_m)
    return _grow(core, radius_m, gsd_m) & where_yx


def compute(layers: Mapping[str, np.ndarray], gsd_m: float, options: Mapping[str, Any]) -> np.ndarray:
    """Mask codes from the layer ``SCL``; see the module for classes and `_DEFAULTS` for options (radii in metres)."""
    scl = layers["SCL"]
    flat = [1] + ([2, 7] if options["strict"] else []) + ([] if options["keep_snow"] else [11])
    bad = _among(scl, flat)
    if options["strict"]:
        bad |= scl > 11
    opening = float(options["opening_m"])
    # One opening over all three classes: the rim of a cloud is often cirrus, and must not be opened away from it.
    cloudy = _open(_among(scl, (8, 9, 10)), opening, gsd_m)
    bad |= _grow(cloudy & (scl != 10), float(options["cloud_m"]), gsd_m)
    bad |= _grow(cloudy & (scl == 10), float(options["cirrus_m"]), gsd_m)
    bad |= _grow(scl == 3, float(options["shadow_m"]), gsd_m)
    mask = np.where(bad, MASK_BAD, MASK_CLEAR).astype(np.uint8)
    mask[_grow(scl == 0, float(options["nodata_m"]), gsd_m)] = MASK_NODATA
    return mask


def _reach_m(options: Mapping[str, Any]) -> float:
    growth = max(float(options[key]) for key in ("cloud_m", "cirrus_m", "shadow_m", "nodata_m"))
    return growth + 2 * float(options["opening_m"])


MASK = Mask(
    name="scl",
    title="scene classification of Level-2A, clouds and shadows widened",
    layers=("SCL",),
    compute=compute,
    reach_m=_reach_m,
    defaults=_DEFAULTS,
)
