"""Tiled GeoTIFF, written window by window: the form of everything between input and deliverable."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from rasterio.errors import RasterioError, RasterioIOError

from landcover_cli.errors import InputError, StorageError
from landcover_cli.io.atomic import FULL, is_storage_error, storage_error
from landcover_cli.io.raster import refuse_truncated

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
    with whole_raster(path), rasterio.open(path, "w", **profile) as dataset:
        for index, text in enumerate(descriptions, start=1):
            dataset.set_band_description(index, text)
        if tags:
            dataset.update_tags(**tags)
        yield dataset


@contextmanager
def whole_raster(path: Path) -> Iterator[None]:
    """Around the writing of one raster, from its opening to its closing: it is whole, or the disk is to blame.

    Raises:
        StorageError: The target cannot be written, or was cut short.
    """
    try:
        yield
    except gdal_errors()[:2] as error:  # before OSError: some of rasterio's errors are both, without a number
        raise write_error(path, error) from error
    except OSError as error:
        if is_storage_error(error):
            raise storage_error(path, error) from error
        raise
    refuse_cut_short(path)


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


def gdal_errors() -> tuple[type[Exception], ...]:
    """What rasterio raises when GDAL fails: its own classes, GDAL's wrapped ones, the system's."""
    from rasterio._err import CPLE_BaseError

    return RasterioError, CPLE_BaseError, OSError


def write_error(path: Path, error: Exception) -> StorageError:
    """The user's view of a failed raster write; GDAL's words, for they often name the cause.

    Everything that is written comes from checked values, so that a failure here is one of storage.
    """
    said = " ".join(f"{error} {error.__cause__ or ''}".split())
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        free = None
    if any(phrase in said for phrase in FULL) or (free is not None and free < 1024**2):
        return StorageError(
            f"cannot write {path}: the disk is full", remedy="free space, then run the same command again"
        )
    return StorageError(f"cannot write {path}: {said[:300]}", remedy="check free space, quota and permissions")


def refuse_cut_short(path: Path) -> None:
    """Refuse a raster that was just closed and is not whole: a full disk may cut it short without a word from GDAL.

    Raises:
        StorageError: It is shorter than its own structure says.
    """
    short = path.stat().st_size < 16  # shorter than any header, so that not even its kind can be told
    try:
        refuse_truncated(path)
    except InputError:
        short = True
    if short:
        raise write_error(path, RasterioIOError("the file was cut short"))
