"""Raster files of a DEM and how windows of them are read.

One file is asked for the same ground several times in a row: by facets, by the shadows of their neighbours, by the map.
Each thread keeps the files that it used last open, so that GDAL need not find its way through the header again and has
what it decoded at hand (as much as its cache is allowed to hold).
"""

from __future__ import annotations

import math
import os
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

OPEN_FILES = 4


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


def paste(sheet: TileSheet, window: tuple[int, int, int, int], void: float) -> FloatArray:
    """Heights of a window of a sheet's lattice.

    Args:
        sheet: The tiles.
        window: First row, end, first column, end, counted from the first tile's corner.
        void: Height of nodata inside a tile; NaN for unknown.

    Returns:
        [rows, columns] metres as the files have them, NaN where no tile is.

    Raises:
        InputError: A tile cannot be read.
    """
    first_row, last_row, first_col, last_col = window
    origin = sheet.tiles[0]
    out: FloatArray | None = None
    shape = last_row - first_row, last_col - first_col
    for tile in sheet.tiles:
        row = round((origin.top - tile.top) / origin.dy) - first_row
        col = round((tile.left - origin.left) / origin.dx) - first_col
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
    try:
        values = _read_heights(_opened(tile.path), part)
    except (RasterioError, OSError) as error:
        name = Path(tile.path).name
        raise InputError(f"DEM {name} cannot be read: {error}", remedy="fetch the tile again") from error
    if not math.isnan(void):
        hole = np.isnan(values)
        if hole.any():
            values[hole & _inside_cover(tile, part)] = void
    return values


class _OpenFiles(threading.local):
    """Datasets of one thread, the one used last at the end; a handle must not be shared."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.datasets: OrderedDict[tuple[str, int, int, int], Any] = OrderedDict()


_open_files = _OpenFiles()


def _opened(path: str) -> Any:
    """An open dataset of this thread; a file that has changed since is opened again."""
    if _open_files.process != os.getpid():
        # A forked process shares the position within files that its parent had open.
        _open_files.__init__()  # type: ignore[misc]
    state = Path(path).stat()
    key = path, state.st_ino, state.st_mtime_ns, state.st_size
    dataset = _open_files.datasets.pop(key, None)
    if dataset is None:
        dataset = rasterio.open(path)
    _open_files.datasets[key] = dataset
    while len(_open_files.datasets) > OPEN_FILES:
        _open_files.datasets.popitem(last=False)[1].close()
    return dataset


def _read_heights(source: Any, part: Window) -> FloatArray:
    """Float64 heights of a window, NaN for nodata; GDAL's mask is only asked for where a file has more than a value."""
    flags = source.mask_flag_enums[0]
    if MaskFlags.all_valid in flags or flags == [MaskFlags.nodata]:
        raw = source.read(1, window=part)
        values = raw.astype(np.float64)
        if source.nodata is not None and not math.isnan(source.nodata):
            values[raw == source.nodata] = np.nan
        return values
    return np.asarray(source.read(1, window=part, masked=True).astype(np.float64).filled(np.nan))


def _inside_cover(tile: DemTile, part: Window) -> NDArray[np.bool_]:
    x = tile.left + (part.col_off + np.arange(part.width) + 0.5) * tile.dx
    y = tile.top - (part.row_off + np.arange(part.height) + 0.5) * tile.dy
    inside = np.zeros((part.height, part.width), dtype=bool)
    for left, bottom, right, top in tile.covered:
        inside |= ((y >= bottom) & (y <= top))[:, None] & ((x >= left) & (x <= right))[None, :]
    return inside
