"""Slope and aspect from elevation."""

from __future__ import annotations

import numpy as np


def horn(elevation_yx: np.ndarray, gsd_m: float) -> dict[str, np.ndarray]:
    """Slope and aspect by Horn's third-order finite difference over 3 × 3 pixels.

    Source: Horn (1981), Hill shading and the reflectance map, Proc. IEEE 69(1), 14-47. A missing neighbour is replaced
    by the linear continuation of its opposite through the centre, or by the centre where that is missing too.

    Args:
        elevation_yx: Heights in metres, row 0 in the north, NaN where unknown; one pixel wider than wanted all
            around.
        gsd_m: Pixel edge in metres on the ground of the projected grid.

    Returns:
        ``slope`` in degrees 0–90, ``aspect_sin`` and ``aspect_cos`` of the downslope direction clockwise from north (0
        both where flat); each two pixels smaller than the input; NaN where the elevation is.
    """
    z = elevation_yx.astype(np.float64)
    centre = z[1:-1, 1:-1]
    height, width = centre.shape

    def raw(dy: int, dx: int) -> np.ndarray:
        return z[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    def neighbour(dy: int, dx: int) -> np.ndarray:
        own, opposite = raw(dy, dx), raw(-dy, -dx)
        filled = np.where(np.isnan(opposite), centre, 2 * centre - opposite)
        return np.where(np.isnan(own), filled, own)

    n = {(dy, dx): neighbour(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx}
    east = (n[-1, 1] + 2 * n[0, 1] + n[1, 1] - n[-1, -1] - 2 * n[0, -1] - n[1, -1]) / (8 * gsd_m)
    north = (n[-1, -1] + 2 * n[-1, 0] + n[-1, 1] - n[1, -1] - 2 * n[1, 0] - n[1, 1]) / (8 * gsd_m)
    # The centre has no weight of its own: where it is unknown its neighbours would still give a slope.
    steepness = np.where(np.isnan(centre), np.nan, np.hypot(east, north))
    flat = steepness == 0
    safe = np.where(flat, 1.0, steepness)
    unknown = np.isnan(steepness)
    return {
        "slope": np.degrees(np.arctan(steepness)),
        # Downslope is against the gradient; sine goes with east, cosine with north.
        "aspect_sin": np.where(flat, 0.0, np.where(unknown, np.nan, -east / safe)),
        "aspect_cos": np.where(flat, 0.0, np.where(unknown, np.nan, -north / safe)),
    }
