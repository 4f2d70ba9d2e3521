"""Decoded tiles of rasters that blocks cut: a window that is no whole number of tiles shares them with its neighbours.

GDAL's own cache holds tiles per open file, and every thread has files of its own; here all threads share.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landcover_cli.errors import InputError

_LEAST_PX = 64
"""Edge below which a tile is not worth keeping: strips of a line or so."""


class TileCache:
    """Decoded tiles up to a number of bytes, the least recently used dropped first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._tiles: OrderedDict[tuple[str, int, int, int], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int, int, int]) -> np.ndarray | None:
        """A tile, or None."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: tuple[str, int, int, int], tile: np.ndarray) -> None:
        """Keep a tile; nobody may change it any more."""
        if tile.nbytes > self._limit:
            return
        with self._lock:
            old = self._tiles.pop(key, None)
            self._held += tile.nbytes - (0 if old is None else old.nbytes)
            self._tiles[key] = tile
            while self._held > self._limit:
                self._held -= self._tiles.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._tiles.clear()
            self._held = 0


def read_tiles(
    tiles: TileCache,
    name: str,
    dataset: rasterio.DatasetReader,
    band: int,
    rows: tuple[int, int],
    cols: tuple[int, int],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Read one band over a window within a raster, through the cache where the window cuts tiles.

    Args:
        tiles: The cache.
        name: Names the file in the cache.
        dataset: Open raster.
        band: 1-based.
        rows: First row, first row after.
        cols: First column, first column after.
        out: Where the window goes; default: a new array.

    Returns:
        (rows, cols) in the file's type, or `out`.

    Raises:
        InputError: The pixels cannot be decoded.
    """
    (r0, r1), (c0, c1) = rows, cols
    high, wide = dataset.block_shapes[band - 1]
    whole = _whole(r0, r1, high, dataset.height) and _whole(c0, c1, wide, dataset.width)
    if whole or min(high, wide) < _LEAST_PX or r0 >= r1 or c0 >= c1:
        return _decode(dataset, band, Window(c0, r0, c1 - c0, r1 - r0), out)
    if out is None:
        out = np.empty((r1 - r0, c1 - c0), dataset.dtypes[band - 1])
    for i in range(r0 // high, (r1 - 1) // high + 1):
        for j in range(c0 // wide, (c1 - 1) // wide + 1):
            top, left = i * high, j * wide
            tile = tiles.get((name, band, i, j))
            if tile is None:
                size = min(wide, dataset.width - left), min(high, dataset.height - top)
                tile = _decode(dataset, band, Window(left, top, *size))
                tiles.put((name, band, i, j), tile)
            y0, y1 = max(r0, top), min(r1, top + tile.shape[0])
            x0, x1 = max(c0, left), min(c1, left + tile.shape[1])
            out[y0 - r0 : y1 - r0, x0 - c0 : x1 - c0] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
    return out


def _whole(first: int, after: int, tile: int, size: int) -> bool:
    return first % tile == 0 and (after % tile == 0 or after == size)


def _decode(dataset: rasterio.DatasetReader, band: int, window: Window, out: np.ndarray | None = None) -> np.ndarray:
    try:
        values: np.ndarray = dataset.read(band, window=window, out=out)
    except RasterioError as error:
        said = str(error.__cause__ or error).splitlines()[0]
        raise InputError(
            f"raster {dataset.name}: band {band} cannot be decoded ({said}); a cut-off download looks like this",
            remedy="download the file again",
        ) from None
    return values
