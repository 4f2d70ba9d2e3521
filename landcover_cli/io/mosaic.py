"""Tiles of one layer → one raster cut to an area: streamed, a row of blocks at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.features
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import InputError
from landcover_cli.io.tilewriter import BLOCK_PX, Layer, TileWriter

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class MosaicFacts:
    """What was found while a layer was put together.

    Attributes:
        digest: Hex sha256 of the pixels, band by band in rows of blocks; the same for any cut into tiles.
        valid_px: Pixels inside the area with a value in band 1.
        inside_px: Pixels inside the area.
    """

    digest: str
    valid_px: int
    inside_px: int


def area_box(geometry: BaseGeometry, gsd_m: float) -> PixelBox:
    """Smallest box of pixels around an area in the grid's CRS.

    Raises:
        InputError: The area holds no pixel centre.
    """
    box = PixelBox.from_bounds(geometry.bounds, gsd_m)
    if not any(inside_mask(geometry, part, gsd_m).any() for part in row_blocks(box)):
        raise InputError(
            f"the AOI is smaller than a pixel of {gsd_m:g} m and holds no pixel centre", remedy="draw a larger area"
        )
    return box


def inside_mask(geometry: BaseGeometry, box: PixelBox, gsd_m: float) -> np.ndarray:
    """Which pixels of a box have their centre inside an area, ``[y, x]`` bool."""
    left, _, _, top = box.bounds_m(gsd_m)
    return np.asarray(
        rasterio.features.geometry_mask(
            [geometry], (box.height, box.width), Affine(gsd_m, 0, left, 0, -gsd_m, top), invert=True
        )
    )


def row_blocks(box: PixelBox) -> Iterator[PixelBox]:
    """A box cut into rows of file blocks, from the top."""
    for row in range(box.row0, box.row1, BLOCK_PX):
        yield PixelBox(row, box.col0, min(row + BLOCK_PX, box.row1), box.col1)


def mosaic(
    sources: Sequence[Path], target: Path, box: PixelBox, gsd_m: float, crs: str, layer: Layer, geometry: BaseGeometry
) -> MosaicFacts:
    """Put tiles together into a tiled GeoTIFF; pixels whose centre lies outside the area become nodata.

    Args:
        sources: Rasters of one layer on the grid's lattice, in any order; they do not overlap in what they hold.
        target: New file.
        box: Extent of the target.
        gsd_m: Pixel edge in metres.
        crs: CRS of the grid.
        layer: What the target says about itself.
        geometry: The area, in the grid's CRS.

    Raises:
        InputError: A source is damaged, or has other bands than the layer.
        StorageError: The disk is full.
    """
    digest = hashlib.sha256()
    valid = inside = 0
    with ExitStack() as stack:
        tiles = [(path, *_open(stack, path, gsd_m, layer)) for path in sorted(sources)]
        writer = stack.enter_context(TileWriter(target, box, gsd_m, crs, layer))
        for part in row_blocks(box):
            values = np.full((len(layer.bands), part.height, part.width), layer.nodata, layer.dtype)
            for path, tile, extent in tiles:
                _paste(values, part, path, tile, extent)
            mask = inside_mask(geometry, part, gsd_m)
            values[:, ~mask] = layer.nodata
            inside += int(mask.sum())
            valid += int((values[0] != layer.nodata).sum())
            digest.update(values.tobytes())
            writer.write(part, values)
    return MosaicFacts(digest.hexdigest(), valid, inside)


def _open(stack: ExitStack, path: Path, gsd_m: float, layer: Layer) -> tuple[Any, PixelBox]:
    try:
        tile = stack.enter_context(rasterio.open(path))
    except RasterioError as error:
        raise InputError(f"{path} is not readable: {error}", remedy="predict the tile again") from None
    if tile.count != len(layer.bands) or tile.dtypes[0] != layer.dtype:
        raise InputError(
            f"{path} has {tile.count} bands of {tile.dtypes[0]}, the layer has {len(layer.bands)} of {layer.dtype}",
            remedy="predict the tile again",
        )
    return tile, PixelBox.from_bounds(tuple(tile.bounds), gsd_m)


def _paste(values: np.ndarray, part: PixelBox, path: Path, tile: Any, extent: PixelBox) -> None:
    common = part.intersect(extent)
    if common.empty:
        return
    window = Window(common.col0 - extent.col0, common.row0 - extent.row0, common.width, common.height)  # type: ignore[no-untyped-call, unused-ignore]
    try:
        values[(slice(None), *common.slices_in(part))] = tile.read(window=window)
    except RasterioError as error:
        raise InputError(f"{path} is damaged: {error}", remedy="predict the tile again") from None
