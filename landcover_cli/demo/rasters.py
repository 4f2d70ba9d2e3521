"""GeoTIFFs of the demo: elevation, truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from landcover_cli.demo.region import CLASSES, EPSG, LEFT_M, PIXEL_M, TOP_M, Region
from landcover_cli.demo.terrain import Terrain
from landcover_cli.io.rasterwrite import whole_raster

ARC_SECOND_DEG = 1 / 3600
_MARGIN_PX = 40


def write_truth(path: Path, truth_yx: NDArray[np.uint8], *, east_only: bool = False) -> None:
    """Write the class codes of every pixel, 0 where there is none: nowhere, or in the western half (`east_only`)."""
    codes = np.array([entry.code for entry in CLASSES], np.uint8)[truth_yx]
    if east_only:
        codes[:, : codes.shape[1] // 2] = 0
    transform = Affine(PIXEL_M, 0, LEFT_M, 0, -PIXEL_M, TOP_M)
    _write(path, codes[None], f"EPSG:{EPSG}", transform, 0, {}, ("class_code",))


def write_dem(path: Path, region: Region, terrain: Terrain, bounds_lonlat: tuple[float, float, float, float]) -> None:
    """Write heights above the ellipsoid on a grid of one arc second in geographic coordinates.

    Args:
        path: Target.
        region: The region, to whose south-western corner the terrain is relative.
        terrain: The hills.
        bounds_lonlat: (west, south, east, north) of the radar images. The margin of 40 arc seconds, 800 m or more,
            holds what heights shift into them: ground 400 m high shows 500 m nearer than the ellipsoid below it.
    """
    left, bottom, _, _ = region.bounds_m
    west, south, east, north = (edge / ARC_SECOND_DEG for edge in bounds_lonlat)
    first_col, first_row = np.floor(west) - _MARGIN_PX, np.ceil(north) + _MARGIN_PX
    cols = int(np.ceil(east) + _MARGIN_PX - first_col) + 1
    rows = int(first_row - np.floor(south) + _MARGIN_PX) + 1
    # As the Copernicus DEM GLO-30 comes: pixel centres on whole arc seconds.
    lon = (first_col + np.arange(cols)) * ARC_SECOND_DEG
    lat = (first_row - np.arange(rows)) * ARC_SECOND_DEG
    to_utm = Transformer.from_crs(4326, EPSG, always_xy=True)
    east_m, north_m = to_utm.transform(*np.meshgrid(lon, lat))
    height = terrain.height_m(east_m - left, north_m - bottom).astype(np.float32)
    transform = Affine(
        ARC_SECOND_DEG, 0, (first_col - 0.5) * ARC_SECOND_DEG, 0, -ARC_SECOND_DEG, (first_row + 0.5) * ARC_SECOND_DEG
    )
    _write(path, height[None], "EPSG:4326", transform, None, {"AREA_OR_POINT": "Point"}, ("elevation",))


def _write(
    path: Path,
    values: NDArray[Any],
    crs: str,
    transform: Affine,
    nodata: float | None,
    tags: dict[str, str],
    names: tuple[str, ...],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole_raster(path),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=values.shape[1],
            width=values.shape[2],
            count=values.shape[0],
            dtype=values.dtype,
            crs=crs,
            transform=transform,
            nodata=nodata,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
            predictor=3 if values.dtype == np.float32 else 1,
            zlevel=6,
        ) as target,
    ):
        target.write(values)
        target.update_tags(**tags)
        for index, name in enumerate(names, start=1):
            target.set_band_description(index, name)
