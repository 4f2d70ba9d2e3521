"""Small views of large results: decimated rasters, class areas, counts of clear observations, tables of training."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landcover_cli.assess.pixelarea import pixel_area_m2
from landcover_cli.errors import InputError
from landcover_cli.io.raster import open_raster
from landcover_cli.io.rastergrid import grid_like

_BLOCK_PX = 1024
CLEAR_CLASSES = ("0", "1", "2", "3 to 4", "5 and more")
_CLEAR_EDGES = (1, 2, 3, 5)
"""First count of each class but the first."""


@dataclass(frozen=True)
class RasterView:
    """A raster, decimated.

    Attributes:
        values_byx: Bands in the file's type.
        nodata: Value that means nothing.
        descriptions: Band names.
        scale: Physical value = stored · scale.
        width_m: Width of the ground shown, in units of the CRS.
        height_m: Height of the ground shown.
        crs: Name of the CRS.
        tags: Metadata of the file.
    """

    values_byx: np.ndarray
    nodata: float | None
    descriptions: tuple[str, ...]
    scale: float
    width_m: float
    height_m: float
    crs: str
    tags: Mapping[str, str]


def view_raster(path: Path, max_px: int) -> RasterView:
    """Read a raster so that no edge has more than `max_px` pixels; overviews are used where there are any.

    Raises:
        InputError: Missing or damaged.
    """
    from rasterio.errors import RasterioError

    with open_raster(path) as raster:
        shrink = max(1.0, max(raster.width, raster.height) / max_px)
        shape = (raster.count, max(1, round(raster.height / shrink)), max(1, round(raster.width / shrink)))
        try:
            values = raster.read(out_shape=shape)  # nearest: classes are never averaged
        except RasterioError as error:
            raise InputError(f"raster {path} is damaged: {error.__cause__ or error}", remedy="make it again") from None
        bounds = raster.bounds
        return RasterView(
            values_byx=values,
            nodata=None if raster.nodata is None else float(raster.nodata),
            descriptions=tuple(text or "" for text in raster.descriptions),
            scale=float(raster.scales[0]),
            width_m=bounds.right - bounds.left,
            height_m=bounds.top - bounds.bottom,
            crs=str(raster.crs),
            tags=dict(raster.tags()),
        )


def class_areas(class_map: Path, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, true area in m²) of every class of a map at full resolution, block by block.

    Raises:
        InputError: Missing or damaged.
    """
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    geobox = grid_like(class_map)
    height, width = geobox.shape
    pixels, area = np.zeros(n_classes, np.int64), np.zeros(n_classes)
    with open_raster(class_map) as raster:
        for row in range(0, height, _BLOCK_PX):
            for col in range(0, width, _BLOCK_PX):
                part = geobox[row : min(row + _BLOCK_PX, height), col : min(col + _BLOCK_PX, width)]
                try:
                    index = raster.read(1, window=Window(col, row, part.shape[1], part.shape[0]))
                except RasterioError as error:
                    raise InputError(f"map {class_map} is damaged: {error}", remedy="make it again") from None
                row_area_m2 = pixel_area_m2(part)
                for found in np.unique(index[index < n_classes]):
                    count = (index == found).sum(1)
                    pixels[found] += count.sum()
                    area[found] += float((count * row_area_m2).sum())
    return pixels, area


def clear_counts(cubes: Iterable[Path]) -> dict[str, dict[str, list[int]]]:
    """Pixels by number of clear observations, per source and period, over pieces of a cube.

    Args:
        cubes: Zarr folders; images without dates are left out.

    Returns:
        Source → label of the period → pixels with 0, 1, 2, 3-4, 5 and more clear observations (`CLEAR_CLASSES`).

    Raises:
        InputError: A piece is no cube.
    """
    import zarr

    from landcover_cli.io.cubestore import CubeSpec

    found: dict[str, dict[str, np.ndarray]] = {}
    for path in cubes:
        group = zarr.open_group(path, mode="r")
        spec = CubeSpec.from_attrs(dict(group.attrs), str(path))
        if spec.kind != "series":
            continue
        n_clear: Any = group["n_clear"]
        rows = n_clear.chunks[1] or n_clear.shape[1]
        for t, period in enumerate(spec.periods):
            total = found.setdefault(spec.source, {}).setdefault(period.label, np.zeros(len(CLEAR_CLASSES), np.int64))
            for row in range(0, n_clear.shape[1], rows):
                classes = np.digitize(n_clear[t, row : row + rows], _CLEAR_EDGES)
                total += np.bincount(classes.ravel(), minlength=len(CLEAR_CLASSES))
    return {
        source: {label: counts.tolist() for label, counts in sorted(periods.items())}
        for source, periods in sorted(found.items())
    }


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object that an earlier step wrote.

    Raises:
        InputError: Missing or damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as JSON: {error}", remedy="make it again") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no JSON object", remedy="make it again")
    return document


def read_curves(path: Path) -> dict[str, list[float | None]]:
    """Columns of a training log (``curves.csv``); what is no finite number is None.

    Raises:
        InputError: Missing or damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is not readable as CSV: {error}", remedy="make it again") from None
    names = list(rows[0]) if rows else []
    return {str(name): [_number(row.get(name)) for row in rows] for name in names if name}


def _number(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
