"""Tiled GeoTIFF, written window by window: the form of everything between input and deliverable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from rasterio.errors import RasterioError

from landcover_cli.errors import StorageError
from landcover_cli.io.atomic import is_storage_error, storage_error

BLOCK_PX = 512
Bounds = tuple[float, float, float, float]


@contextmanager
def create_geotiff(
    path: Path,
    *,
    bounds_m: Bounds,
    gsd_m: float,
    crs: str,
    count: int,
    dtype: str,
    nodata: float | None,
    descriptions: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    interleave: str = "band",
) -> Iterator[rasterio.io.DatasetWriter]:
    """Create a tiled, compressed GeoTIFF for writing windows; the same pixels give the same bytes.

    Windows should be written in the order of the file's blocks (rows of blocks from the top), each block once: a block
    written twice leaves a hole of dead bytes behind.

    Args:
        path: New file.
        bounds_m: (left, bottom, right, top), whole multiples of `gsd_m` apart.
        gsd_m: Pixel edge.
        crs: ``EPSG:<code>`` or WKT.
        count: Bands.
        dtype: numpy name.
        nodata: Value that means nothing, or None.
        descriptions: One per band.
        tags: Metadata of the file; nothing of time, host or run.
        interleave: ``band`` or ``pixel``.

    Raises:
        StorageError: The target cannot be written.
    """
    profile = _profile(bounds_m, gsd_m, crs, count, dtype, nodata, interleave)
    try:
        with rasterio.open(path, "w", **profile) as dataset:
            for index, text in enumerate(descriptions, start=1):
                dataset.set_band_description(index, text)
            if tags:
                dataset.update_tags(**tags)
            yield dataset
    except OSError as error:
        if is_storage_error(error):
            raise storage_error(path, error) from error
        raise
    except RasterioError as error:
        text = str(error.__cause__ or error)
        raise StorageError(f"cannot write {path}: {text}", remedy="check free space and permissions") from error


def _profile(
    bounds_m: Bounds, gsd_m: float, crs: str, count: int, dtype: str, nodata: float | None, interleave: str
) -> dict[str, Any]:
    left, bottom, right, top = bounds_m
    height, width = round((top - bottom) / gsd_m), round((right - left) / gsd_m)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": count,
        "dtype": dtype,
        "crs": crs,
        "transform": Affine(gsd_m, 0, left, 0, -gsd_m, top),
        "nodata": nodata,
        "compress": "zstd",
        "zstd_level": 1,
        "interleave": interleave,
        "bigtiff": "if_safer",
    }
    if height > BLOCK_PX or width > BLOCK_PX:
        profile |= {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX}
    else:
        # A small raster in one block: padding it to 512 × 512 would cost more than its pixels.
        edge = [max(16, -(-size // 16) * 16) for size in (height, width)]
        profile |= {"tiled": True, "blockysize": edge[0], "blockxsize": edge[1]}
    return profile
