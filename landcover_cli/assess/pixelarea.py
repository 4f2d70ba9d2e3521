"""True ground area of pixels, whatever the projection does to areas."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyproj

if TYPE_CHECKING:
    from landcover_cli.core.grid import GeoBox


def pixel_area_m2(geobox: GeoBox) -> np.ndarray:
    """Area on the ellipsoid of a pixel of each row of a north-up grid.

    In a projected CRS: the pixel's nominal area divided by the projection's areal scale at the middle of the grid (in a
    UTM zone 0.9992 at the central meridian); exact to 1e-5 for grids of some kilometres. In degrees: the geodesic area
    of one pixel of each row.

    Args:
        geobox: A part of a map, some kilometres large.

    Returns:
        ``[height]`` square metres.
    """
    crs = pyproj.CRS.from_user_input(str(geobox.crs))
    affine, (height, width) = geobox.affine, geobox.shape
    if crs.is_geographic:
        geod = crs.get_geod() or pyproj.Geod(ellps="WGS84")
        left, right = affine.c, affine.c + affine.a
        tops = affine.f + affine.e * np.arange(height + 1)
        return np.array(
            [
                abs(geod.polygon_area_perimeter([left, right, right, left], [top, top, bottom, bottom])[0])
                for top, bottom in pairwise(tops)
            ]
        )
    unit = float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
    nominal = abs(affine.a * affine.e) * unit**2
    x, y = affine * (width / 2, height / 2)
    base = crs.geodetic_crs or pyproj.CRS.from_epsg(4326)
    lon, lat = pyproj.Transformer.from_crs(crs, base, always_xy=True).transform(x, y)
    scale = float(pyproj.Proj(crs).get_factors(lon, lat).areal_scale)
    return np.full(height, nominal / scale if np.isfinite(scale) and scale > 0 else nominal)
