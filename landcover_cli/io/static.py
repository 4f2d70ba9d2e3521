"""Layers without a date on the product grid: mosaicked, resampled, with slope and aspect derived from elevation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landcover_cli.errors import InputError
from landcover_cli.io.ongrid import Bounds, Lattice, Method, covered, intersect, read_on
from landcover_cli.io.raster import gdal_env, open_raster, raster_info
from landcover_cli.optical.terrain import horn


@dataclass(frozen=True)
class StaticSettings:
    """What the pipeline file says about static layers.

    Attributes:
        name: Name of the source; named in errors.
        bands: Names of the files' bands in order.
        derive: Layers computed from ``elevation``: ``slope`` (degrees), ``aspect_sin``, ``aspect_cos``.
        resampling: How values come to the lattice.
        nodata: Value that means nothing, where the files do not say.
    """

    name: str
    bands: tuple[str, ...]
    derive: tuple[str, ...] = ()
    resampling: Method = "bilinear"
    nodata: float | None = None

    @property
    def all_bands(self) -> tuple[str, ...]:
        """Read and derived bands in order."""
        return (*self.bands, *self.derive)


def static_covers(paths: Sequence[Path], lattice: Lattice, settings: StaticSettings) -> dict[Path, Bounds]:
    """Files that touch a lattice, with their bounds in its CRS; headers only.

    Raises:
        InputError: A file is unreadable, or has not as many bands as the pipeline file names.
    """
    found = {}
    for path in sorted(paths):
        with gdal_env(), open_raster(path) as dataset:
            info = raster_info(dataset)
            if info.count != len(settings.bands):
                raise InputError(
                    f"source {settings.name!r}: {path} has {info.count} bands, `bands` names {len(settings.bands)}",
                    remedy="name every band of the file",
                )
            ground = covered(info, lattice.crs, lattice.gsd_m)
            if intersect(ground, lattice.bounds_m):
                found[path] = ground
    return found


def read_static(paths: Sequence[Path], lattice: Lattice, settings: StaticSettings) -> np.ndarray:
    """Layers on a lattice.

    Args:
        paths: Where files overlap, the first in sorted order that holds a value wins.
        lattice: Where to.
        settings: Bands and what is derived.

    Returns:
        (band, y, x) float32, NaN where a layer says nothing.

    Raises:
        InputError: A file is damaged.
    """
    # Slope looks one pixel around; with the margin it is the same on both sides of a tile's edge.
    margin = 1 if settings.derive else 0
    wide = lattice.grown(margin)
    layers = np.full((len(settings.bands), *wide.shape_yx), np.nan, np.float32)
    for path in sorted(paths):
        with gdal_env(), open_raster(path) as dataset:
            for index in range(len(settings.bands)):
                values = read_on(dataset, index + 1, wide, settings.resampling, as_float=True, nodata=settings.nodata)
                hole = np.isnan(layers[index])
                layers[index][hole] = values[hole]
    if not settings.derive:
        return layers
    derived = horn(layers[settings.bands.index("elevation")], lattice.gsd_m)
    inner = layers[:, 1:-1, 1:-1]
    return np.concatenate([inner, np.stack([derived[name] for name in settings.derive])]).astype(np.float32)
