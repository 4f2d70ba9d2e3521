"""Reading a raster onto the product grid's lattice: directly where the lattices match, warped where they do not.

Where CRS and pixel edges match and the pixel sizes are whole multiples of each other, no warp is needed; pixels are
read, repeated or averaged. Else they are warped here and not by GDAL, whose approximation of positions depends on the
window it is asked for (rasterio's `tolerance` changes nothing): here a window of a result is the result of a window,
bit for bit. A value exists exactly where the nearest input pixel does; no value ever collides with nodata.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, cast

import numpy as np
import pyproj
import rasterio
from rasterio.warp import transform_bounds

from landcover_cli.core.lattice import Bounds, Lattice, intersect, snap_out
from landcover_cli.errors import InputError
from landcover_cli.io.raster import RasterInfo, raster_info, read_window, same_crs
from landcover_cli.optical.resample import downsample, repeat, sample, upsample

Method = Literal["bilinear", "nearest"]
_NODE_PX = 16
"""Positions are transformed at every 16th pixel and interpolated between; over 160 m that errs by less than a
millimetre between two projections (L² / 8R)."""
__all__ = [
    "Bounds",
    "Lattice",
    "Method",
    "covered",
    "intersect",
    "margin_of",
    "place",
    "read_native",
    "read_on",
    "snap_out",
]


def relation(info: RasterInfo, crs: str, gsd_m: float) -> tuple[Literal["up", "down", "warp"], int]:
    """How a raster's pixels lie on the lattice of `gsd_m` from the CRS origin: (way, factor).

    ``up``: each raster pixel is factor × factor lattice pixels (1: the same); ``down``: the other way round.
    """
    if not same_crs(info.crs, crs) or abs(info.gsd_m - info.gsd_y_m) > 1e-9 * info.gsd_m:
        return "warp", 0
    up, down = info.gsd_m / gsd_m, gsd_m / info.gsd_m
    left, top = info.bounds_m[0], info.bounds_m[3]

    def whole(value: float) -> bool:
        return abs(value - round(value)) < 1e-6

    if up >= 1 - 1e-9 and whole(up) and whole(left / gsd_m) and whole(top / gsd_m):
        return "up", round(up)
    if down > 1 and whole(down) and whole(left / info.gsd_m) and whole(top / info.gsd_m):
        return "down", round(down)
    return "warp", 0


def covered(info: RasterInfo, crs: str, gsd_m: float) -> Bounds:
    """Bounds of a raster in a CRS, snapped outwards to the lattice of `gsd_m`."""
    if same_crs(info.crs, crs):
        return snap_out(info.bounds_m, gsd_m)
    return snap_out(cast(Bounds, transform_bounds(info.crs, crs, *info.bounds_m, densify_pts=21)), gsd_m)


def read_native(
    dataset: rasterio.DatasetReader, band: int, bounds: Bounds, margin_px: int
) -> tuple[np.ndarray, int, int]:
    """Pixels of one band under some bounds in the raster's CRS plus a margin, cut to the raster.

    Returns:
        The pixels, and row and column of the first one in the raster.
    """
    info = raster_info(dataset)
    left, _, _, top = info.bounds_m
    r0 = max(math.floor((top - bounds[3]) / info.gsd_y_m + 1e-6) - margin_px, 0)
    r1 = min(math.ceil((top - bounds[1]) / info.gsd_y_m - 1e-6) + margin_px, info.height)
    c0 = max(math.floor((bounds[0] - left) / info.gsd_m + 1e-6) - margin_px, 0)
    c1 = min(math.ceil((bounds[2] - left) / info.gsd_m - 1e-6) + margin_px, info.width)
    values = read_window(dataset, band, (r0, max(r1, r0)), (c0, max(c1, c0)), 0)
    return values, r0, c0


def place(
    values_yx: np.ndarray, info: RasterInfo, row0: int, col0: int, lattice: Lattice, method: Method
) -> np.ndarray:
    """Put pixels of a raster onto a lattice.

    Args:
        values_yx: Unsigned integers (0 = nodata) or floats (NaN = nodata); a window of the raster that reaches
            `margin_of` pixels beyond the lattice, or to the raster's edge.
        info: Header of the raster.
        row0: Row of the window's first pixel in the raster.
        col0: Column of it.
        lattice: Where to.
        method: ``bilinear`` for measurements, ``nearest`` for codes.

    Returns:
        Values on the lattice, same type, nodata where the raster says nothing.
    """
    way, factor = relation(info, lattice.crs, lattice.gsd_m)
    if way == "warp":
        return _warp(values_yx, info, row0, col0, lattice, method)
    height, width = lattice.shape_yx
    left, top = info.bounds_m[0] + col0 * info.gsd_m, info.bounds_m[3] - row0 * info.gsd_m
    if way == "up":
        row = round((top - lattice.bounds_m[3]) / lattice.gsd_m)
        col = round((lattice.bounds_m[0] - left) / lattice.gsd_m)
        if method == "bilinear" and factor > 1:
            return upsample(values_yx, factor, row, col, height, width)
        padded, r, c = _padded(values_yx, (row // factor, col // factor), height // factor + 2, width // factor + 2)
        return repeat(padded, factor, row - r * factor, col - c * factor, height, width)
    row = round((top - lattice.bounds_m[3]) / info.gsd_m)
    col = round((lattice.bounds_m[0] - left) / info.gsd_m)
    padded, r, c = _padded(values_yx, (row, col), height * factor, width * factor)
    if method == "nearest":
        # The pixel at the lower right of the centre: the even case has no centre pixel, and one rule must decide.
        return padded[factor // 2 :: factor, factor // 2 :: factor]
    return downsample(padded, factor)


def _padded(values: np.ndarray, first: tuple[int, int], height: int, width: int) -> tuple[np.ndarray, int, int]:
    """A window of an array that may reach beyond it; nodata outside."""
    fill = np.nan if values.dtype.kind == "f" else 0
    out = np.full((height, width), fill, values.dtype)
    r0, r1 = max(first[0], 0), min(first[0] + height, values.shape[0])
    c0, c1 = max(first[1], 0), min(first[1] + width, values.shape[1])
    if r0 < r1 and c0 < c1:
        out[r0 - first[0] : r1 - first[0], c0 - first[1] : c1 - first[1]] = values[r0:r1, c0:c1]
    return out, first[0], first[1]


def source_px_per_pixel(info: RasterInfo, lattice: Lattice) -> tuple[float, float]:
    """Pixels of a raster per pixel of a lattice, along x and y; at least 1, and 1 where they are nearly as large.

    It follows from the raster and the pixel size alone, never from the window, so that it decides the same everywhere.
    """
    x_m, y_m = info.gsd_m, info.gsd_y_m
    if rasterio.crs.CRS.from_user_input(info.crs).is_geographic:
        # 111.32 km per degree of the equator; the cosine at the raster's centre is near enough for a filter's width.
        middle = math.radians((info.bounds_m[1] + info.bounds_m[3]) / 2)
        x_m, y_m = x_m * 111_320 * math.cos(middle), y_m * 111_320
    x, y = (lattice.gsd_m / edge for edge in (x_m, y_m))
    return (x if x > 1.25 else 1.0), (y if y > 1.25 else 1.0)


def _warp(values: np.ndarray, info: RasterInfo, row0: int, col0: int, lattice: Lattice, method: Method) -> np.ndarray:
    floating = values.dtype.kind == "f"
    fill = np.nan if floating else 0
    if values.size == 0:
        return np.full(lattice.shape_yx, fill, values.dtype)
    height, width = lattice.shape_yx
    # Rows count southwards from the origin of the CRS.
    first_y = round(-lattice.bounds_m[3] / lattice.gsd_m)
    first_x = round(lattice.bounds_m[0] / lattice.gsd_m)
    node_y = np.arange(first_y // _NODE_PX, (first_y + height) // _NODE_PX + 2) * _NODE_PX
    node_x = np.arange(first_x // _NODE_PX, (first_x + width) // _NODE_PX + 2) * _NODE_PX
    x, y = np.meshgrid(node_x * lattice.gsd_m, -node_y * lattice.gsd_m)
    if not same_crs(info.crs, lattice.crs):
        x, y = _transformer(lattice.crs, info.crs).transform(x, y)
    cols = np.where(np.isfinite(x), (x - info.bounds_m[0]) / info.gsd_m, np.nan)
    rows = np.where(np.isfinite(y), (info.bounds_m[3] - y) / info.gsd_y_m, np.nan)
    ratio_x, ratio_y = source_px_per_pixel(info, lattice)
    out = sample(
        values if floating else np.where(values != 0, values, np.nan),
        (row0, col0),
        (rows, cols),
        _NODE_PX,
        (first_y, first_x),
        (height, width),
        (ratio_y, ratio_x),
        nearest=method == "nearest",
    )
    keep = np.isfinite(out)
    if not floating:
        out = np.floor(np.where(keep, out, 0) + 0.5)
    return np.where(keep, out, fill).astype(values.dtype)


@lru_cache(maxsize=16)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def margin_of(info: RasterInfo, lattice: Lattice) -> int:
    """Pixels around a window that resampling looks at: one for bilinear, times the filter's width; one for the bend of
    edges between two CRS."""
    return 2 + math.ceil(max(source_px_per_pixel(info, lattice)))


def read_on(
    dataset: rasterio.DatasetReader,
    band: int,
    lattice: Lattice,
    method: Method,
    *,
    as_float: bool = False,
    nodata: float | None = None,
) -> np.ndarray:
    """Read one band onto a lattice.

    Args:
        dataset: Open raster.
        band: 1-based.
        lattice: Where to.
        method: ``bilinear`` for measurements, ``nearest`` for codes.
        as_float: Return float32 with NaN as nodata, whatever the file holds. Without it the file must hold unsigned
            integers in which 0 means nothing.
        nodata: With `as_float`: value that means nothing where the file states none.

    Raises:
        InputError: The file has no georeference, cannot be decoded, or holds another type.
    """
    info = raster_info(dataset)
    if same_crs(info.crs, lattice.crs):
        bounds: Bounds = lattice.bounds_m
    else:
        bounds = cast(Bounds, transform_bounds(lattice.crs, info.crs, *lattice.bounds_m, densify_pts=21))
    values, row0, col0 = read_native(dataset, band, bounds, margin_of(info, lattice))
    if not as_float:
        if values.dtype.kind != "u":
            raise InputError(f"raster {dataset.name} holds {values.dtype}, not unsigned integers", remedy="check it")
        return place(values, info, row0, col0, lattice, method)
    stated = dataset.nodatavals[band - 1]
    nothing = nodata if stated is None else stated
    floats = values.astype(np.float32)
    bad = ~np.isfinite(floats)
    if nothing is not None and np.isfinite(nothing):
        bad |= values == nothing
    return place(np.where(bad, np.float32(np.nan), floats), info, row0, col0, lattice, method)
