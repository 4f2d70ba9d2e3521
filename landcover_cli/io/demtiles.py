"""Raster files of a DEM and how windows of them are read.

The same ground is asked for several times in a row, in small windows: by facets, by the shadows of their neighbours, by
the map. What was read last is therefore kept, in chunks, up to `KEPT_BYTES` for all threads together.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landcover_cli.errors import InputError

FloatArray = NDArray[np.float64]
Bounds = tuple[float, float, float, float]

CHUNK_PX = 512
KEPT_BYTES = 96 * 1024**2
# A window of more chunks than this is read by itself: it is not asked for again.
MAX_CHUNKS = 16
# No ground lies outside: the shore of the Dead Sea is at -430 m, Mount Everest at 8849 m.
TERRAIN_M = (-1000.0, 9000.0)


@dataclass(frozen=True, slots=True)
class DemTile:
    """One raster of heights.

    Attributes:
        path: What rasterio opens.
        left: x of the left edge of column 0, in the CRS of the DEM.
        top: y of the upper edge of row 0.
        dx: Column spacing, positive.
        dy: Row spacing, positive (rows go down).
        shape_yx: Rows and columns.
        covered: Rectangles (left, bottom, right, top) that hold data: the tile itself, or the sources of a VRT.
    """

    path: str
    left: float
    top: float
    dx: float
    dy: float
    shape_yx: tuple[int, int]
    covered: tuple[Bounds, ...]

    @property
    def bounds(self) -> Bounds:
        """(left, bottom, right, top) in the CRS of the DEM."""
        return (
            self.left,
            self.top - self.dy * self.shape_yx[0],
            self.left + self.dx * self.shape_yx[1],
            self.top,
        )


@dataclass(frozen=True, slots=True)
class TileSheet:
    """Tiles that lie on one pixel lattice of one CRS and can be pasted into one array."""

    crs: str
    geographic: bool
    tiles: tuple[DemTile, ...]

    def corner(self, tile: DemTile) -> tuple[int, int]:
        """Row and column of a tile, counted from the first one's."""
        origin = self.tiles[0]
        return round((origin.top - tile.top) / origin.dy), round((tile.left - origin.left) / origin.dx)

    @property
    def rows(self) -> tuple[int, int]:
        """First row and end of all tiles."""
        spans = [(self.corner(tile)[0], tile.shape_yx[0]) for tile in self.tiles]
        return min(first for first, _ in spans), max(first + size for first, size in spans)

    @property
    def columns(self) -> tuple[int, int]:
        """First column and end of all tiles."""
        spans = [(self.corner(tile)[1], tile.shape_yx[1]) for tile in self.tiles]
        return min(first for first, _ in spans), max(first + size for first, size in spans)


def paste(sheet: TileSheet, window: tuple[int, int, int, int], void: float) -> FloatArray:
    """Heights of a window of a sheet's lattice.

    Args:
        sheet: The tiles.
        window: First row, end, first column, end, counted from the first tile's corner.
        void: Height of nodata inside a tile; NaN for unknown.

    Returns:
        [rows, columns] metres as the files have them, NaN where no tile is.

    Raises:
        InputError: A tile cannot be read, or holds what is no height of terrain.
    """
    first_row, last_row, first_col, last_col = window
    out: FloatArray | None = None
    shape = last_row - first_row, last_col - first_col
    for tile in sheet.tiles:
        row, col = sheet.corner(tile)
        row, col = row - first_row, col - first_col
        r0, r1 = max(row, 0), min(row + tile.shape_yx[0], shape[0])
        c0, c1 = max(col, 0), min(col + tile.shape_yx[1], shape[1])
        if r0 >= r1 or c0 >= c1:
            continue
        values = _read(tile, Window(c0 - col, r0 - row, c1 - c0, r1 - r0), void)
        if out is None and values.shape == shape:
            out = values
            continue
        if out is None:
            out = np.full(shape, np.nan)
        target = out[r0:r1, c0:c1]
        np.copyto(target, values, where=~np.isnan(values))
    return np.full(shape, np.nan) if out is None else out


def _read(tile: DemTile, part: Window, void: float) -> FloatArray:
    """Float64 heights of a window of one tile."""
    try:
        values = _window(tile, part)
    except (RasterioError, OSError) as error:
        name = Path(tile.path).name
        raise InputError(f"DEM {name} cannot be read: {error}", remedy="fetch the tile again") from error
    _refuse_no_terrain(tile, values)
    if not math.isnan(void):
        hole = np.isnan(values)
        if hole.any():
            values[hole & _inside_cover(tile, part)] = void
    return values


def _refuse_no_terrain(tile: DemTile, values: FloatArray) -> None:
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    if low < TERRAIN_M[0] or high > TERRAIN_M[1]:
        name, wrong = Path(tile.path).name, low if low < TERRAIN_M[0] else high
        raise InputError(
            f"DEM {name} holds a height of {wrong:g} m, no ground lies outside {TERRAIN_M[0]:g} to {TERRAIN_M[1]:g} m",
            remedy=f"if it stands for nodata, say so in the file: `gdal_edit.py -a_nodata {wrong:g} {name}`; "
            "else correct the heights or their unit",
        )


def _window(tile: DemTile, part: Window) -> FloatArray:
    top, left, height, width = part.row_off, part.col_off, part.height, part.width
    rows = range(top // CHUNK_PX, (top + height - 1) // CHUNK_PX + 1)
    cols = range(left // CHUNK_PX, (left + width - 1) // CHUNK_PX + 1)
    if len(rows) * len(cols) > MAX_CHUNKS:
        with rasterio.open(tile.path) as source:
            return _read_heights(source, part).astype(np.float64)
    state = Path(tile.path).stat()
    # A file that was replaced is another file.
    version = tile.path, state.st_ino, state.st_mtime_ns, state.st_size
    out = np.empty((height, width))
    for i in rows:
        for j in cols:
            values = _kept.get((*version, i, j))
            if values is None:
                values = _chunk(tile, i, j)
                _kept.put((*version, i, j), values)
            r0, c0 = i * CHUNK_PX, j * CHUNK_PX
            r1, c1 = min(r0 + values.shape[0], top + height), min(c0 + values.shape[1], left + width)
            a, b = max(r0, top), max(c0, left)
            out[a - top : r1 - top, b - left : c1 - left] = values[a - r0 : r1 - r0, b - c0 : c1 - c0]
    return out


def _chunk(tile: DemTile, i: int, j: int) -> NDArray[Any]:
    height = min(CHUNK_PX, tile.shape_yx[0] - i * CHUNK_PX)
    width = min(CHUNK_PX, tile.shape_yx[1] - j * CHUNK_PX)
    with rasterio.open(tile.path) as source:
        return _read_heights(source, Window(j * CHUNK_PX, i * CHUNK_PX, width, height))


class _Kept:
    """Arrays by key, the one used last at the end; the first ones make way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrays: OrderedDict[tuple[Any, ...], NDArray[Any]] = OrderedDict()
        self.nbytes = 0

    def get(self, key: tuple[Any, ...]) -> NDArray[Any] | None:
        """An array that is there, None if it is not."""
        with self._lock:
            found = self._arrays.get(key)
            if found is not None:
                self._arrays.move_to_end(key)
            return found

    def put(self, key: tuple[Any, ...], values: NDArray[Any]) -> None:
        """Keep an array; several threads may bring the same one."""
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = values
                self.nbytes += values.nbytes
            while self.nbytes > KEPT_BYTES and len(self._arrays) > 1:
                self.nbytes -= self._arrays.popitem(last=False)[1].nbytes


_kept = _Kept()


def _read_heights(source: Any, part: Window) -> NDArray[Any]:
    """Heights of a window as float32 where that holds what the file has, else float64; NaN for nodata.

    GDAL's mask is only asked for where a file has more than a value.
    """
    kind = np.float32 if source.dtypes[0] in ("uint8", "int8", "int16", "uint16", "float32") else np.float64
    flags = source.mask_flag_enums[0]
    if MaskFlags.all_valid in flags or flags == [MaskFlags.nodata]:
        raw = source.read(1, window=part)
        values = raw.astype(kind)
        if source.nodata is not None and not math.isnan(source.nodata):
            values[raw == source.nodata] = np.nan
        return np.asarray(values)
    return np.asarray(source.read(1, window=part, masked=True).astype(kind).filled(np.nan))


def _inside_cover(tile: DemTile, part: Window) -> NDArray[np.bool_]:
    x = tile.left + (part.col_off + np.arange(part.width) + 0.5) * tile.dx
    y = tile.top - (part.row_off + np.arange(part.height) + 0.5) * tile.dy
    inside = np.zeros((part.height, part.width), dtype=bool)
    for left, bottom, right, top in tile.covered:
        inside |= ((y >= bottom) & (y <= top))[:, None] & ((x >= left) & (x <= right))[None, :]
    return inside
