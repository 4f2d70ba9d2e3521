"""Grids that are given by a raster or by numbers."""

from __future__ import annotations

import math
import reprlib
from pathlib import Path

import pyproj
import rasterio
from affine import Affine
from rasterio.errors import RasterioError

from landcover_cli.core.grid import GeoBox
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.raster import refuse_truncated

_MAX_EDGE_PX = 2_000_000


def grid_like(path: Path) -> GeoBox:
    """The grid of a raster.

    Raises:
        InputError: Missing, no raster, no CRS, or not north-up.
    """
    if path.is_file():
        refuse_truncated(path)
    try:
        with rasterio.open(path) as source:
            if source.crs is None or source.transform.is_identity:
                raise InputError(f"{path} has no CRS or no georeference", remedy="assign it")
            affine = source.transform
            if affine.b or affine.d or affine.a <= 0 or affine.e >= 0:
                raise InputError(f"{path} is not north-up", remedy="warp it to a north-up grid (gdalwarp)")
            code = pyproj.CRS.from_wkt(source.crs.to_wkt()).to_epsg(min_confidence=100)
            return GeoBox((source.height, source.width), affine, f"EPSG:{code}" if code else source.crs.to_wkt())
    except RasterioError as error:
        raise InputError(
            f"{path} is not readable as a raster: {reprlib.repr(str(error))}",
            remedy="check the path, and that the file is a raster, and whole",
        ) from None


def grid_from_bounds(crs: str, resolution: float, bounds: tuple[float, float, float, float]) -> GeoBox:
    """The smallest grid with whole multiples of the resolution as edges that contains the bounds.

    Raises:
        UsageError: An unknown CRS, no area, or more than two million pixels along an edge.
    """
    try:
        pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError:
        raise UsageError(f"--crs {crs!r} is no known CRS", remedy="write e.g. EPSG:32631") from None
    if not all(math.isfinite(value) for value in (*bounds, resolution)) or resolution <= 0:
        raise UsageError(f"bounds {bounds}, resolution {resolution} make no grid", remedy="give finite numbers")
    left, bottom = (math.floor(value / resolution + 1e-6) for value in bounds[:2])
    right, top = (math.ceil(value / resolution - 1e-6) for value in bounds[2:])
    width, height = right - left, top - bottom
    if not (0 < width <= _MAX_EDGE_PX and 0 < height <= _MAX_EDGE_PX):
        raise UsageError(
            f"bounds {bounds} at {resolution:g} make a grid of {width} × {height} pixels",
            remedy="write left,bottom,right,top in units of the CRS",
        )
    return GeoBox((height, width), Affine(resolution, 0, left * resolution, 0, -resolution, top * resolution), crs)
