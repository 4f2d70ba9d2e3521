"""Ground range and slant range of a simulated Sentinel-1 image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import RectBivariateSpline

from landcover_cli.demo.sentinel1_ground import Seen, ground_point
from landcover_cli.demo.sentinel1_orbit import FloatArray, Track

PIXEL_SPACING_M = 10.0
# Of real IW GRDH products; lines come to lie 10.1 m apart.
LINE_INTERVAL_S = 1.496569996245720e-03


@dataclass(frozen=True, eq=False)
class RangeScale:
    """Ground range on the ellipsoid as function of azimuth time and slant range, from exact points.

    Attributes:
        track: The orbit.
        near_range_m: Slant range of ground range 0.
        spline: (time, slant) → ground metres from the near range.
        span_m: First and last slant range covered.
    """

    track: Track
    near_range_m: float
    spline: Any
    span_m: tuple[float, float]

    def ground_m(self, time_s: FloatArray, slant_m: FloatArray) -> FloatArray:
        """Ground range from the near range, metres; arrays of one shape."""
        return np.asarray(self.spline.ev(time_s, slant_m))

    def slant_m(self, time_s: FloatArray | float, ground_m: FloatArray) -> FloatArray:
        """Slant range of ground ranges [N] at one time or at [N] times: the table's inverse, to 1e-6 m."""
        slant = np.full_like(ground_m, self.near_range_m)
        time = np.broadcast_to(np.asarray(time_s, np.float64), ground_m.shape)
        for _ in range(12):
            slant -= (self.ground_m(time, slant) - ground_m) / self.spline.ev(time, slant, dy=1)
        return slant


def range_scale(orbit: Track, seen: Seen, margin_px: int) -> tuple[RangeScale, int]:
    """Ground range over the scene, and the number of pixels."""
    first, last = float(seen.slant_m.min()), float(seen.slant_m.max())
    slant = np.arange(first - 20_000.0, last + 20_000.0, 200.0)
    time = np.linspace(float(seen.time_s.min()) - 2.0, float(seen.time_s.max()) + 2.0, 9)
    time_ij, slant_ij = np.meshgrid(time, slant, indexing="ij")
    points = ground_point(orbit, time_ij, slant_ij, 0.0)
    # Chords of some 300 m are shorter than their arcs by 3e-8 m.
    steps = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    ground = np.concatenate([np.zeros((len(time), 1)), np.cumsum(steps, axis=1)], axis=1)
    table = RectBivariateSpline(time, slant, ground)
    scale = RangeScale(orbit, first, table, (float(slant[0]), float(slant[-1])))
    middle = 0.5 * (time[0] + time[-1])
    near = float(scale.slant_m(middle, table.ev([middle], [first]) - margin_px * PIXEL_SPACING_M)[0])
    ground -= table.ev(time, np.full_like(time, near))[:, None]
    scale = RangeScale(orbit, near, RectBivariateSpline(time, slant, ground), scale.span_m)
    width = float(scale.ground_m(np.array([middle]), np.array([last]))[0])
    return scale, int(np.ceil(width / PIXEL_SPACING_M)) + margin_px + 1
