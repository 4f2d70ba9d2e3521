"""Pixel tests of Fmask on top-of-atmosphere reflectance.

Z. Zhu, C. E. Woodcock, "Object-based cloud and cloud shadow detection in Landsat imagery", Remote Sensing of
Environment 118, 2012; Z. Zhu, S. Wang, C. E. Woodcock, "Improvement and expansion of the Fmask algorithm", RSE 159,
2015 (Sentinel-2: no thermal band, cirrus band instead); D. Frantz et al., "Improvement of the Fmask algorithm for
Sentinel-2 images", RSE 215, 2018 (cloud displacement index).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

VALID, POTENTIAL, WATER, SNOW = 1, 2, 4, 8
_CDI_WINDOW = 7
_STRIP = 1024


@njit(nogil=True, cache=True)
def _index(a: float, b: float) -> float:
    """(a − b)/(a + b); 0 where the sum is not positive."""
    return (a - b) / (a + b) if a + b > 0.0 else 0.0


@njit(nogil=True, cache=True)
def pixel_tests(
    blue: NDArray[np.uint16],
    green: NDArray[np.uint16],
    red: NDArray[np.uint16],
    nir: NDArray[np.uint16],
    swir1: NDArray[np.uint16],
    swir2: NDArray[np.uint16],
    cirrus: NDArray[np.uint16],
    flags: NDArray[np.uint8],
    probability: NDArray[np.float32],
) -> None:
    """Potential clouds, water, snow and the cloud probability of every pixel.

    Args:
        blue: Digital numbers, ρ = (DN − 1000)/10000, 0 = nodata; like all the others [H, W].
        green: As `blue`.
        red: As `blue`.
        nir: As `blue`.
        swir1: As `blue`.
        swir2: As `blue`.
        cirrus: As `blue`.
        flags: Written: sum of VALID, POTENTIAL, WATER, SNOW; 0 where any band is nodata.
        probability: Written: over water that of water, elsewhere that of land.
    """
    for y in range(blue.shape[0]):
        for x in range(blue.shape[1]):
            flags[y, x] = 0
            probability[y, x] = 0.0
            if (
                min(blue[y, x], green[y, x], red[y, x], nir[y, x]) == 0
                or min(swir1[y, x], swir2[y, x], cirrus[y, x]) == 0
            ):
                continue
            b, g, r = (blue[y, x] - 1000.0) / 1e4, (green[y, x] - 1000.0) / 1e4, (red[y, x] - 1000.0) / 1e4
            n, c = (nir[y, x] - 1000.0) / 1e4, (cirrus[y, x] - 1000.0) / 1e4
            s1, s2 = (swir1[y, x] - 1000.0) / 1e4, (swir2[y, x] - 1000.0) / 1e4
            ndvi, ndsi = _index(n, r), _index(g, s1)
            mean = (b + g + r) / 3.0
            # Darkness has no colour; it is neither white nor a cloud.
            whiteness = (abs(b - mean) + abs(g - mean) + abs(r - mean)) / mean if mean > 0.0 else 1.0
            potential = (
                s2 > 0.03
                and ndsi < 0.8
                and ndvi < 0.8
                and whiteness < 0.7
                and b - 0.5 * r - 0.08 > 0.0
                and n > 0.75 * s1
            ) or c > 0.01
            water = (ndvi < 0.01 and n < 0.11) or (ndvi < 0.1 and n < 0.05)
            flag = VALID
            if potential:
                flag |= POTENTIAL
            if water:
                flag |= WATER
                p = min(s1, 0.11) / 0.11 + c / 0.04
            else:
                p = 1.0 - max(abs(ndvi), abs(ndsi), whiteness) + c / 0.04
            if ndsi > 0.15 and n > 0.11 and g > 0.1:
                flag |= SNOW
            flags[y, x] = flag
            probability[y, x] = p


def displacement_index(
    b07: NDArray[np.uint16], b08: NDArray[np.uint16], b8a: NDArray[np.uint16]
) -> NDArray[np.float32]:
    """Cloud displacement index: (V7 − V8)/(V7 + V8) of the variances of B07/B8A and B08/B8A over 7 × 7 pixels.

    B08 sees a cloud from another angle than B07 and B8A do: over clouds its ratio varies more, and the index is low.
    0 where the variances are 0. Computed by strips of rows, the same for a raster whatever asks for it.

    Args:
        b07: Digital numbers with 1000 for no reflectance, [H, W].
        b08: As `b07`.
        b8a: As `b07`.

    Returns:
        [H, W] float32 within −1 … 1.
    """
    out = np.zeros(b8a.shape, np.float32)
    half = _CDI_WINDOW // 2
    for top in range(0, b8a.shape[0], _STRIP):
        bottom = min(top + _STRIP, b8a.shape[0])
        rows = slice(max(top - half, 0), bottom + half)
        base = np.maximum(b8a[rows].astype(np.float64) - 1000.0, 1.0)
        seven = _variance((b07[rows] - 1000.0) / base)
        eight = _variance((b08[rows] - 1000.0) / base)
        total = seven + eight
        index = np.divide(seven - eight, total, out=np.zeros_like(total), where=total > 1e-12)
        first = top - rows.start
        out[top:bottom] = index[first : first + bottom - top]
    return out


def _variance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = ndimage.uniform_filter(values, _CDI_WINDOW, mode="nearest")
    square = ndimage.uniform_filter(values * values, _CDI_WINDOW, mode="nearest")
    return np.maximum(square - mean * mean, 0.0)


def keep_displaced(cloud: NDArray[np.bool_], index: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Clouds that the displacement index confirms: below −0.5, grown within cloud below −0.25 (8-connected)."""
    wide = cloud & (index < -0.25)
    labels, number = ndimage.label(wide, structure=np.ones((3, 3), bool))
    keep = np.zeros(number + 1, bool)
    keep[np.unique(labels[wide & (index < -0.5)])] = True
    keep[0] = False
    kept: NDArray[np.bool_] = keep[labels]
    return kept


def majority(cloud: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with at least five cloudy ones in their 3 × 3, themselves counted; beyond the raster nothing is cloudy."""
    padded = np.pad(cloud.astype(np.uint8), 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    most: NDArray[np.bool_] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] >= 5
    return most
