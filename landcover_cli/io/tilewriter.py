"""A tiled GeoTIFF written strip by strip: nothing is held but one row of blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from landcover_cli.core.windows import PixelBox
from landcover_cli.io.rasterwrite import gdal_errors, refuse_cut_short, write_error

_GDAL_ERRORS = gdal_errors()

BLOCK_PX = 512
Rgba = tuple[int, int, int, int]


@dataclass(frozen=True)
class Layer:
    """What a raster says about itself, beside its pixels.

    Attributes:
        dtype: numpy name of the pixel type.
        nodata: Value of pixels without one.
        bands: Name of each band, in order.
        colors: Pixel value → red, green, blue, alpha 0..255; a colour table for one-band uint8 or uint16 rasters.
        scale: Physical value = stored · scale.
        unit: Unit of the physical value; empty for none.
        tags: Texts kept in the file.
    """

    dtype: str
    nodata: float
    bands: tuple[str, ...]
    colors: Mapping[int, Rgba] = field(default_factory=dict)
    scale: float = 1.0
    unit: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class TileWriter:
    """Writes a box of the product grid as a tiled GeoTIFF, as a context manager.

    Strips come in any number of column ranges, each from the top row down without a gap; they are gathered to whole
    rows of blocks, so that no compressed block is written twice and the file's bytes do not depend on the strips.
    """

    def __init__(self, path: Path, box: PixelBox, gsd_m: float, crs: str, layer: Layer) -> None:
        self._path, self._box, self._layer = path, box, layer
        left, _, _, top = box.bounds_m(gsd_m)
        try:
            self._file = rasterio.open(
                path,
                "w",
                driver="GTiff",
                width=box.width,
                height=box.height,
                count=len(layer.bands),
                dtype=layer.dtype,
                nodata=layer.nodata,
                crs=crs,
                transform=Affine(gsd_m, 0, left, 0, -gsd_m, top),
                tiled=True,
                blockxsize=BLOCK_PX,
                blockysize=BLOCK_PX,
                interleave="band",
                compress="deflate",
                zlevel=1,
                bigtiff="if_safer",
            )
        except _GDAL_ERRORS as error:
            raise write_error(path, error) from error
        if layer.colors:
            self._file.write_colormap(1, dict(layer.colors))
        for index, name in enumerate(layer.bands, start=1):
            self._file.set_band_description(index, name)
            if layer.unit:
                self._file.set_band_unit(index, layer.unit)
        if layer.scale != 1.0:
            self._file.scales = (layer.scale,) * len(layer.bands)
        self._file.update_tags(**layer.tags)
        self._gathered: list[np.ndarray] = []
        self._start = box

    def __enter__(self) -> TileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            # The first error is the one to tell.
            with contextlib.suppress(*_GDAL_ERRORS):
                self._file.close()

    def write(self, box: PixelBox, values_byx: np.ndarray) -> None:
        """Write a strip: ``[band, y, x]`` over `box`.

        Raises:
            StorageError: The disk is full or the file cannot be written.
            ValueError: A strip that does not follow the one before.
        """
        gathered = sum(part.shape[1] for part in self._gathered)
        if not self._gathered:
            self._start = box
        elif (box.row0, box.col0, box.col1) != (self._start.row0 + gathered, self._start.col0, self._start.col1):
            raise ValueError(f"strip {box} does not follow row {self._start.row0 + gathered} of {self._start}")
        self._gathered.append(np.ascontiguousarray(values_byx))
        ready = box.row1 - self._box.row0
        if box.row1 < self._box.row1:
            ready -= ready % BLOCK_PX
        height = ready - (self._start.row0 - self._box.row0)
        if height > 0:
            self._flush(height)

    def _flush(self, height: int) -> None:
        """Write the first rows of what was gathered, and keep the rest."""
        values = self._gathered[0] if len(self._gathered) == 1 else np.concatenate(self._gathered, axis=1)
        start = self._start
        window = Window(start.col0 - self._box.col0, start.row0 - self._box.row0, start.width, height)  # type: ignore[no-untyped-call, unused-ignore]
        try:
            self._file.write(values[:, :height], window=window)
        except _GDAL_ERRORS as error:
            raise write_error(self._path, error) from error
        rest = values[:, height:]
        self._gathered = [rest.copy()] if rest.shape[1] else []
        self._start = PixelBox(start.row0 + height, start.col0, start.row0 + height + rest.shape[1], start.col1)

    def tag(self, **tags: str) -> None:
        """Add texts that are known only once the pixels are."""
        self._file.update_tags(**tags)

    def close(self) -> None:
        """Finish the file.

        Raises:
            StorageError: The disk is full.
        """
        try:
            self._file.close()
        except _GDAL_ERRORS as error:
            raise write_error(self._path, error) from error
        refuse_cut_short(self._path)
